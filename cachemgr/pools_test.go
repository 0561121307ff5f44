package cachemgr

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestPins(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 40)
		r.add("b", 20)
		r.add("c", 70)
		pin := func(name string, on bool, want error) {
			r.Helper()
			if err := r.m.Pin(name, on); !errors.Is(err, want) {
				r.Errorf("pin %s %v: error %v, want %v", name, on, err, want)
			}
		}
		pin("a", true, nil)
		pin("a", true, nil)
		pin("b", true, engine.ErrNoMemory) // more than half of 100 bytes
		pin("x", true, ErrUnknownModel)
		r.want("a", api.CacheLoad)
		r.want("b", api.CacheLoad)
		if _, err := r.infer(r.Context(), "c"); !errors.Is(err, engine.ErrNoMemory) {
			r.Errorf("error %v, want ErrNoMemory: a is pinned", err)
		}
		r.wantState("a", api.StateResident)
		r.wantState("b", api.StateResident) // leaving would not have helped
		pin("a", false, nil)
		r.want("c", api.CacheSwap)
		r.wantState("a", api.StateStaged)
	})
}

func TestPinEndsWhenTheModelIsLargerThanItSaid(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{
			Cost:     engine.Cost{Peak: 40, Resident: 40, Host: 40, Estimated: true},
			Measured: engine.Cost{Peak: 60, Resident: 60, Host: 40},
		})
		r.growth = true
		if err := r.m.Pin("a", true); err != nil {
			r.Fatal(err)
		}
		r.want("a", api.CacheLoad)
		if r.m.Status().Models["a"].Pinned {
			r.Error("60 of 100 bytes are pinned")
		}
	})
}

func TestPinnedHostMemory(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 400}})
		r.addAs("b", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 700}})
		if err := r.m.Pin("b", true); !errors.Is(err, engine.ErrNoMemory) {
			r.Errorf("error %v, want ErrNoMemory", err)
		}
		if err := r.m.Pin("a", true); err != nil {
			r.Fatal(err)
		}
		r.want("a", api.CacheLoad)
		if _, err := r.infer(r.Context(), "b"); !errors.Is(err, engine.ErrNoMemory) {
			r.Errorf("error %v, want ErrNoMemory: a is pinned", err)
		}
		r.want("a", api.CacheHit)
	}, func(c *Config, _ *testengine.Engine) {
		c.DeviceBudget = func(engine.Device) int64 { return 10000 }
	})
}

// TestHostPool: who leaves host memory, for whom.
func TestHostPool(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, name := range []string{"a", "b", "c", "d"} {
			r.addAs(name, testengine.Model{Cost: engine.Cost{Peak: 40, Resident: 40, Host: 300}})
		}
		r.addAs("huge", testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 900}})
		for _, name := range []string{"a", "b", "c"} {
			r.want(name, api.CacheLoad)
		}
		r.wantState("a", api.StateStaged) // evicted by c
		r.want("d", api.CacheLoad)
		r.wantState("a", api.StateAbsent) // on no device, so it left first
		r.wantState("c", api.StateResident)

		run := r.hold(testengine.Run, "d")
		busy := r.start("d")
		huge := r.start("huge") // all have to leave, d when its request is done
		r.wantState("b", api.StateAbsent)
		r.wantState("c", api.StateAbsent)
		r.wantState("d", api.StateDraining)
		more := r.start("d")
		close(run)
		for _, p := range []*pending{busy, huge, more} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
	})
}

func TestResiduesLeaveForWhoNeedsTheBytes(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, name := range []string{"a", "b"} {
			r.addAs(name, testengine.Model{Cost: engine.Cost{Peak: 90, Resident: 90, Residual: 8, Host: 10}})
		}
		r.add("c", 85)
		r.want("a", api.CacheLoad)
		r.want("b", api.CacheLoad)
		r.wantState("a", api.StateParked)
		r.want("c", api.CacheLoad) // 100 - 85 is not enough for both residues
		r.wantState("a", api.StateAbsent)
		r.wantState("b", api.StateParked)
		r.want("b", api.CacheSwap) // its own residue is part of it
	})
}
