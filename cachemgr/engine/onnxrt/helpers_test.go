package onnxrt

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// resident opens and loads a model for the length of the test.
func resident(t testing.TB, e engine.Engine, m engine.Model) engine.Instance {
	t.Helper()
	st, err := e.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	i, err := st.Load(t.Context(), CPU)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, st)
	closed(t, i)
	return i
}

func randomImage(side int64) tensor.Tensor {
	rng := rand.New(rand.NewPCG(1, 2))
	t := tensor.Tensor{Name: "input", Datatype: tensor.FP32, Shape: []int64{1, 3, side, side}}
	for range 3 * side * side {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(rng.NormFloat64())))
	}
	return t
}

// answer is the bytes of the output.
func answer(t testing.TB, i engine.Instance, in tensor.Tensor) string {
	t.Helper()
	out := []tensor.Tensor{{Name: "output"}}
	if err := i.Run(t.Context(), []tensor.Tensor{in}, out); err != nil {
		t.Fatal(err)
	}
	return string(out[0].Data)
}
