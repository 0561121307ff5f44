package main

import (
	"encoding/binary"
	"math"
	"os"
	"testing"
)

func TestPlainSessionRecognisesTheHeldOutScans(t *testing.T) {
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		t.Skip("ONNXRUNTIME_LIB is not set: `make unit` sets it")
	}
	fns, err := newFunctions(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer(library, fns); err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, s := range fns[0].cases {
		best, at := float32(-1), 0
		for i := range len(s.want) / 4 {
			if p := math.Float32frombits(binary.LittleEndian.Uint32(s.want[4*i:])); p > best {
				best, at = p, i
			}
		}
		if at == s.label {
			right++
		}
	}
	if accuracy := float64(right) / float64(len(fns[0].cases)); accuracy < 0.975 {
		t.Errorf("accuracy %.4f", accuracy)
	}
	for _, f := range fns[1:] {
		if string(f.cases[0].want) == string(f.cases[1].want) {
			t.Errorf("%s answers two pictures with the same bytes", f.name)
		}
	}
}
