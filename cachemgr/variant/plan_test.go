package variant

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestChangeover(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.want("m", "cpu", terms4)
		if i := r.instance("m"); i.State != api.StateBuilding || i.Reason != "fp16, batch 4: building, 50 %" {
			r.Errorf("shown as %+v", i)
		}
		r.let(nil)
		r.want("m", "gpu", terms4)
		if r.gpu.got.Digest != "plan:m-fp16-4" || r.gpu.got.MaxBatch != 4 {
			r.Errorf("the GPU was asked for %+v", r.gpu.got)
		}
		if i := r.instance("m"); i.State != api.StateResident {
			r.Errorf("shown as %+v", i)
		}
		if err := r.Forget("m"); err != nil {
			r.Error(err)
		}
		synctest.Wait()
		if r.gpu.keys() != "" || r.cpu.keys() != "" || len(r.builder.inUse) > 0 || len(r.builder.gone) > 0 {
			r.Errorf("left are %q %q %v", r.gpu.keys(), r.cpu.keys(), r.builder.inUse)
		}
		if _, err := r.Infer(r.Context(), request("m", 1, terms4)); !errors.Is(err, cachemgr.ErrUnknownModel) {
			r.Errorf("a forgotten model: %v", err)
		}

		// It comes back at once: its plan is there, and was proved.
		r.add("m", terms4)
		r.want("m", "gpu", terms4)
		if len(r.gpu.loads) != 1 {
			r.Errorf("loaded %v: only a new plan has to be", r.gpu.loads)
		}
	})
}

// Forgotten and brought again at once, the former's end does not take the plan.
func TestForgetAndAdd(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		for range 3 {
			if err := r.Forget("m"); err != nil {
				r.Error(err)
			}
			r.add("m", terms4)
		}
		r.want("m", "gpu", terms4)
		if len(r.ending) != 0 {
			r.Errorf("%d models never end", len(r.ending))
		}
		if err := errors.Join(r.Forget("m"), r.Forget("m")); err != nil {
			r.Error(err)
		}
	})
}

func TestFailedBuilds(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", cachemgr.Terms{})
		r.let(errors.New("no disk"))
		i := r.instance("m")
		at, err := time.Parse(time.RFC3339Nano, i.RetryAt)
		if err != nil || i.State != api.StateFailed || time.Until(at) != 10*time.Second || !strings.Contains(i.Reason, "no disk") {
			r.Errorf("shown as %+v", i)
		}
		r.want("m", "cpu", cachemgr.Terms{})
		time.Sleep(10 * time.Second)
		r.let(errors.New("no disk"))
		time.Sleep(20 * time.Second) // twice as long
		// What cannot be built in half precision is built in full.
		r.let(fmt.Errorf("%w: overflow", engine.ErrBadModel))
		r.let(nil)
		r.want("m", "gpu", cachemgr.Terms{})
		if r.gpu.got.Digest != "plan:m-fp32-1" {
			r.Errorf("runs %s", r.gpu.got.Digest)
		}
		if i := r.instance("m"); i.State != api.StateResident {
			r.Errorf("shown as %+v", i)
		}
	})
}

// A plan that does not take what its file takes is not used, and not kept.
func TestUnlikePlans(t *testing.T) {
	for name, change := range map[string]func(*engine.Spec){
		"datatype": func(s *engine.Spec) {
			s.Inputs = []tensor.Spec{{Name: "x", Datatype: tensor.Int32, Shape: []int64{-1, 2}}}
		},
		"name": func(s *engine.Spec) {
			s.Outputs = []tensor.Spec{{Name: "z", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
		},
		"rank": func(s *engine.Spec) {
			s.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1}}}
		},
		"one more": func(s *engine.Spec) { s.Inputs = append(s.Inputs, tensor.Spec{Name: "more"}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				change(&r.gpu.spec)
				r.add("m", terms4)
				r.let(nil)
				r.want("m", "cpu", terms4)
				if i := r.instance("m"); i.State != api.StateFailed || len(r.builder.gone) != 1 || r.gpu.keys() != "" {
					r.Errorf("shown as %+v, discarded %v, known %s", i, r.builder.gone, r.gpu.keys())
				}
			})
		})
	}
}

// A plan that cannot be loaded any more is built anew; meanwhile the CPU answers.
func TestDamagedPlan(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		r.gpu.setFail(fmt.Errorf("%w: damaged", engine.ErrBadModel))
		r.want("m", "cpu", terms4)
		synctest.Wait()
		r.gpu.setFail(nil)
		r.want("m", "cpu", terms4)
		if len(r.builder.gone) != 1 {
			r.Errorf("discarded %v", r.builder.gone)
		}
		time.Sleep(10 * time.Second)
		r.let(nil)
		r.want("m", "gpu", terms4)
	})
}
