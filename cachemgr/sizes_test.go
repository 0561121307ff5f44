package cachemgr

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestTooLarge(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("idle", 20)
		r.want("idle", api.CacheLoad)
		r.addAs("device", testengine.Model{Cost: engine.Cost{Peak: 101, Resident: 10, Host: 10}})
		r.addAs("host", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 1001}})
		for range 2 {
			for _, name := range []string{"device", "host"} {
				if _, err := r.infer(r.Context(), name); !errors.Is(err, ErrTooLarge) {
					r.Errorf("%s: error %v, want ErrTooLarge", name, err)
				}
			}
		}
		if n := r.engine.Calls(testengine.Call{Op: testengine.Open, Model: "device"}); n != 1 {
			r.Errorf("opened %d times", n)
		}
		r.want("idle", api.CacheHit) // nobody left for it
	})
}

// TestLargerThanItSaid: what an engine says before the first load may be wrong.
func TestLargerThanItSaid(t *testing.T) {
	for _, c := range []struct {
		name     string
		measured engine.Cost
		wantErr  error
		neighbor api.State
		itself   api.State
	}{
		{"still fits", engine.Cost{Peak: 60, Resident: 60, Host: 10}, nil, api.StateResident, api.StateResident},
		{"smaller", engine.Cost{Peak: 5, Resident: 5, Host: 5}, nil, api.StateResident, api.StateResident},
		{"others must leave", engine.Cost{Peak: 90, Resident: 90, Host: 10}, nil, api.StateStaged, api.StateResident},
		{"larger than the device", engine.Cost{Peak: 120, Resident: 120, Host: 10}, ErrTooLarge, api.StateResident, api.StateFailed},
		{"others must leave the host", engine.Cost{Peak: 10, Resident: 10, Host: 990}, nil, api.StateAbsent, api.StateResident},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.growth = true
				r.add("neighbor", 40)
				r.want("neighbor", api.CacheLoad)
				r.addAs("a", testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10, Estimated: true}, Measured: c.measured})
				_, err := r.infer(r.Context(), "a")
				if !errors.Is(err, c.wantErr) {
					r.Errorf("error %v, want %v", err, c.wantErr)
				}
				r.wantState("neighbor", c.neighbor)
				r.wantState("a", c.itself)
				if st := r.m.Status(); st.Models["a"].Bytes != c.measured.Resident || st.Models["a"].Estimated || st.Devices[0].Resident > 100 || st.Host.Used > 1000 {
					r.Errorf("status %+v", st)
				}
				if _, err := r.infer(r.Context(), "a"); !errors.Is(err, c.wantErr) {
					r.Errorf("again: error %v, want %v", err, c.wantErr)
				}
			})
		})
	}
}

func TestLargerThanTheHostAfterOpening(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.growth = true
		r.engine.Define("a", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 1001}})
		if err := r.m.Add(Model{Digest: "a", Name: "a", Path: "a", Size: 10}); err != nil {
			r.Fatal(err)
		}
		for range 2 {
			if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrTooLarge) {
				r.Errorf("error %v, want ErrTooLarge", err)
			}
		}
		r.wantState("a", api.StateFailed)
		if used := r.m.Status().Host.Used; used != 0 {
			r.Errorf("%d bytes are still counted", used)
		}
	})
}

func TestOverheadOfTheEngineCounts(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.growth = true // it is known only after a load
		r.add("a", 40)
		r.add("b", 40)
		r.want("a", api.CacheLoad)
		r.engine.List[0].Overhead = 30
		r.want("b", api.CacheLoad)
		r.wantState("a", api.StateStaged)
		r.engine.List[0].Overhead = 70
		r.add("c", 20)
		r.want("c", api.CacheLoad) // now it is known that b does not fit any more
		if _, err := r.infer(r.Context(), "b"); !errors.Is(err, ErrTooLarge) {
			r.Errorf("error %v, want ErrTooLarge", err)
		}
	})
}
