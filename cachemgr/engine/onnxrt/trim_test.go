package onnxrt

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func TestABurstOfEvictionsIsOneTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trims atomic.Int64
		r := &trimmer{trim: func() { trims.Add(1) }}
		wantAfter := func(wait time.Duration, want int64) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if got := trims.Load(); got != want {
				t.Errorf("%d trims, want %d", got, want)
			}
		}
		for range 100 {
			r.freed()
		}
		wantAfter(trimAfter-1, 0)
		wantAfter(1, 1)
		wantAfter(time.Hour, 1)
		r.freed()
		wantAfter(trimAfter, 2)
		r.freed()
		r.stop()
		wantAfter(time.Hour, 3)
		r.freed()
		wantAfter(time.Hour, 3)
	})
}

// A model of 45 MB comes and goes; then the system has its memory back.
func TestEvictionGivesMemoryBack(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1})
	st, err := e.Open(t.Context(), write(t, modelgen.Spec{Family: modelgen.ResNet18}))
	if err != nil {
		t.Fatal(err)
	}
	closed(t, st)
	image := randomImage(224)
	before := int64(0)
	for cycle := range 4 {
		i, err := st.Load(t.Context(), CPU)
		if err != nil {
			t.Fatal(err)
		}
		answer(t, i, image)
		resident := settled(t, e)
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		after := settled(t, e)
		if cycle == 0 {
			before = after // what the library keeps for itself is there now
			continue
		}
		cost := st.Cost(CPU).Resident
		if given := resident - after; given < cost/2 || given > cost*2 {
			t.Errorf("cycle %d: the eviction gave %d bytes back; the model is said to take %d", cycle, given, cost)
		}
		if after > before+cost/10 {
			t.Errorf("cycle %d: %d bytes are held, before it were %d", cycle, after, before)
		}
	}
}
