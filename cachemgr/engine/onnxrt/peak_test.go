package onnxrt

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// highWater is the most that the process had since resetHighWater.
func highWater(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if words := bytes.Fields(line); len(words) > 1 && string(words[0]) == "VmHWM:" {
			n, err := strconv.ParseInt(string(words[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("/proc/self/status does not state VmHWM")
	return 0
}

func resetHighWater(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("the system does not let this process measure its peak: %v", err)
	}
}

// What the estimate says is held against what the system counts: while a session
// is made, and while it runs. Networks of convolutions and of full layers differ
// most in the former.
func TestEstimateAgainstTheSystem(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1})
	image := randomImage(224)
	for _, s := range []modelgen.Spec{
		{Family: modelgen.MobileNetV2}, {Family: modelgen.ResNet18}, {Family: modelgen.ResNet50, Width: 0.5}, {Family: modelgen.VGG16, Width: 0.5},
	} {
		st, err := e.Open(t.Context(), write(t, s))
		if err != nil {
			t.Fatal(err)
		}
		closed(t, st)
		for round := range 2 {
			before := settled(t, e)
			resetHighWater(t)
			i, err := st.Load(t.Context(), CPU)
			if err != nil {
				t.Fatal(err)
			}
			peak := highWater(t) - before
			settled(t, e)
			resetHighWater(t)
			answer(t, i, image)
			running := highWater(t) - before
			if err := i.Close(); err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				continue // what the library keeps for itself comes on top
			}
			cost := st.Cost(CPU)
			t.Logf("%s: peak %d, estimate %d; running %d, estimate %d", s.Family, peak, cost.Peak, running, cost.Resident)
			if float64(peak) > 1.2*float64(cost.Peak) || float64(peak) < 0.5*float64(cost.Peak) {
				t.Errorf("%s: loading took %d bytes, the estimate is %d", s.Family, peak, cost.Peak)
			}
			if float64(running) > 1.2*float64(cost.Resident) || float64(running) < 0.5*float64(cost.Resident) {
				t.Errorf("%s: running takes %d bytes, the estimate is %d", s.Family, running, cost.Resident)
			}
		}
	}
}
