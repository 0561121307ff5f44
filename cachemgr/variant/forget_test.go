package variant

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Who waits for the plan of a model that is forgotten learns that at once.
func TestForgetWhileRequestsWait(t *testing.T) {
	for _, added := range []bool{false, true} { // again, at once
		inBubble(t, func(r *rig) {
			wait := terms4
			wait.Fallback = api.FallbackWait
			r.add("m", wait)
			began, answers := time.Now(), make(chan error, 2)
			go func() { _, err := r.Infer(r.Context(), request("m", 1, wait)); answers <- err }()
			go func() { _, err := r.Spec(r.Context(), "m"); answers <- err }()
			synctest.Wait()
			if err := r.Forget("m"); err != nil {
				r.Fatal(err)
			}
			if added {
				r.add("m", wait)
			}
			for range 2 {
				if err := <-answers; !errors.Is(err, cachemgr.ErrUnknownModel) || time.Since(began) > 0 {
					r.Errorf("after %v: %v", time.Since(began), err)
				}
			}
		}, func(c *Config) { c.CPU = nil })
	}
}

// A plan is built anew once, however many requests have found it damaged.
func TestDamageIsToldOften(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		mod, _ := r.find("m")
		p := mod.plans[0]
		r.Router.mu.Lock()
		p.broken <- struct{}{}
		for len(p.broken) > 0 { // its goroutine has heard it, and not yet said so
			runtime.Gosched()
		}
		p.broken <- struct{}{}
		r.Router.mu.Unlock()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		r.let(nil)
		if r.want("m", "gpu", terms4); p.state != ready {
			r.Errorf("the new plan is in state %d", p.state)
		}
	})
}

// A pin that changes while a plan gets ready, or breaks, is where the model is.
func TestPinsFollowThePlan(t *testing.T) {
	const key = "plan:m-fp16-4"
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.gpu.onLoad = func() { // it is proved just now
			if err := r.Pin("m", true); err != nil {
				r.Error(err)
			}
		}
		r.let(nil)
		if !r.gpu.models[key] || r.cpu.models["m"] {
			r.Errorf("pinned are the plan %v and the file %v", r.gpu.models[key], r.cpu.models["m"])
		}
		r.gpu.setFail(engine.ErrBadModel)
		r.want("m", "cpu", terms4)
		synctest.Wait()
		if !r.cpu.models["m"] {
			r.Error("the plan is gone, and the file not pinned")
		}
		if err := r.Pin("m", false); err != nil || r.cpu.models["m"] {
			r.Errorf("still pinned: %v", err)
		}
	})
}

// Functions that change their terms on and on do not take the node over.
func TestTermsAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		for batch := 1; batch <= 3*mostPlans; batch++ {
			r.add("m", cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: batch})
		}
		mod, _ := r.find("m")
		if len(mod.plans) != mostPlans || len(mod.terms) != mostTerms {
			r.Errorf("%d plans for %d terms, want at most %d and %d", len(mod.plans), len(mod.terms), mostPlans, mostTerms)
		}
		r.want("m", "cpu", cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 3 * mostPlans})
	})
}
