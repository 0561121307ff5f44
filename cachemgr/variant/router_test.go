package variant

import (
	"context"
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

var terms4 = cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4}

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

func TestWaiting(t *testing.T) {
	inBubble(t, func(r *rig) {
		wait := cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4, Fallback: api.FallbackWait}
		r.add("m", wait)
		answers := make(chan error, 5)
		ask := func(ctx context.Context) {
			res, err := r.Infer(ctx, request("m", 1, wait))
			if err == nil && (res.Engine != "gpu" || res.Queue != 5*time.Second) {
				err = fmt.Errorf("answered %+v", res)
			}
			answers <- err
		}
		began := time.Now()
		go ask(r.Context())
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		go ask(ctx)
		synctest.Wait()
		go ask(r.Context()) // one more than may wait
		if err := <-answers; !errors.Is(err, cachemgr.ErrOverloaded) {
			r.Errorf("the queue is full: %v", err)
		}
		if err := <-answers; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			r.Errorf("too late after %v: %v", time.Since(began), err)
		}
		time.Sleep(4 * time.Second)
		r.let(nil)
		if err := <-answers; err != nil {
			r.Error(err)
		}

		r.add("slow", wait)
		began = time.Now()
		_, err := r.Infer(r.Context(), request("slow", 1, wait))
		var building *cachemgr.BuildingError
		if !errors.As(err, &building) || time.Since(began) != 30*time.Second || !building.RetryAt.After(time.Now()) {
			r.Errorf("after %v: %v", time.Since(began), err)
		}
		go func() { _, err := r.Infer(r.Context(), request("slow", 1, wait)); answers <- err }()
		synctest.Wait()
		r.Drain()
		if err := <-answers; !errors.Is(err, cachemgr.ErrClosed) {
			r.Errorf("while draining: %v", err)
		}
	})
}

func TestRefusal(t *testing.T) {
	inBubble(t, func(r *rig) {
		never := cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4, Fallback: api.FallbackRefuse}
		r.add("m", never)
		_, err := r.Infer(r.Context(), request("m", 1, never))
		if !errors.Is(err, cachemgr.ErrBuilding) || !strings.Contains(err.Error(), "building, 50 %") {
			r.Errorf("refused with %v", err)
		}
		if err := r.Ready("m"); !errors.Is(err, cachemgr.ErrBuilding) {
			r.Errorf("ready: %v", err)
		}
		r.add("m", cachemgr.Terms{}) // another function, which would have the CPU
		if err := r.Ready("m"); err != nil {
			r.Errorf("ready for one of them: %v", err)
		}
		r.let(nil)
		if _, err := r.Infer(r.Context(), request("m", 5, never)); !errors.Is(err, engine.ErrBadInput) {
			r.Errorf("a batch of 5: %v", err)
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

func TestFallsBack(t *testing.T) {
	for err, want := range map[error]bool{
		engine.ErrDeviceLost: true, engine.ErrNoMemory: true, cachemgr.ErrTooLarge: true, engine.ErrBadModel: true,
		&cachemgr.FailedError{Reason: errors.New("x")}: true, cachemgr.ErrUnknownModel: true,
		engine.ErrBadInput: false, cachemgr.ErrOverloaded: false, cachemgr.ErrClosed: false,
		context.Canceled: false, context.DeadlineExceeded: false, errors.New("another"): false,
	} {
		if fallsBack(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
		inBubble(t, func(r *rig) {
			r.add("m", terms4)
			r.let(nil)
			r.gpu.setFail(err)
			_, got := r.Infer(r.Context(), request("m", 1, terms4))
			if (got == nil) != want {
				r.Errorf("%v became %v", err, got)
			}
			refuse := terms4
			refuse.Fallback = api.FallbackRefuse
			if _, got := r.Infer(r.Context(), request("m", 1, refuse)); !errors.Is(got, err) && !errors.Is(err, engine.ErrBadModel) && !errors.Is(got, engine.ErrDeviceLost) {
				r.Errorf("%v became %v", err, got)
			}
		})
	}
}

func TestLostGPU(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		if err := r.Add(cachemgr.Model{Digest: "p", Format: engine.FormatPlan}); err != nil {
			r.Fatal(err)
		}
		r.gpu.setFail(engine.ErrDeviceLost)
		r.want("m", "cpu", terms4)
		select {
		case <-r.Lost():
		default:
			r.Error("nobody is told")
		}
		r.gpu.setFail(nil)
		r.want("m", "cpu", terms4) // the process does not get it back
		for _, fallback := range []string{api.FallbackRefuse, api.FallbackWait} {
			terms := terms4
			terms.Fallback = fallback
			_, err := r.Infer(r.Context(), request("m", 1, terms))
			if f := (*cachemgr.FailedError)(nil); !errors.As(err, &f) || !errors.Is(err, engine.ErrDeviceLost) {
				r.Errorf("%s: %v", fallback, err)
			}
		}
		if _, err := r.Infer(r.Context(), request("p", 1, cachemgr.Terms{})); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("a plan: %v", err)
		}
		if err := r.Ready("p"); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("a plan is ready: %v", err)
		}
		if _, err := r.Spec(r.Context(), "m"); err != nil {
			r.Errorf("the CPU describes it: %v", err)
		}
	})
}

func TestSpec(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		for range 2 { // by the file, then by the plan: requests do not notice
			if s, err := r.Spec(r.Context(), "m"); err != nil || s.MaxBatch != -1 {
				r.Errorf("%+v, %v", s, err)
			}
			if r.builder.builds == 0 {
				r.let(nil)
			}
		}
	})
	inBubble(t, func(r *rig) { // without a CPU it comes with the plan
		r.add("m", terms4)
		go func() { time.Sleep(time.Second); r.let(nil) }()
		if s, err := r.Spec(r.Context(), "m"); err != nil || s.MaxBatch != -1 {
			r.Errorf("%+v, %v", s, err)
		}
		if _, err := r.Infer(r.Context(), request("m", 5, terms4)); !errors.Is(err, engine.ErrBadInput) {
			r.Errorf("a batch of 5: %v", err)
		}
	}, func(c *Config) { c.CPU = nil })
}

func TestPinMovesToThePlan(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		if err := r.Pin("m", true); err != nil || !r.cpu.models["m"] {
			r.Errorf("the file is not pinned: %v", err)
		}
		r.let(nil)
		if !r.gpu.models["plan:m-fp16-4"] || r.cpu.models["m"] || !r.Status().Models["m"].Pinned {
			r.Error("the pin has not moved to the plan")
		}
		if err := r.Pin("m", false); err != nil || r.gpu.models["plan:m-fp16-4"] || r.Status().Models["m"].Pinned {
			r.Errorf("it is still pinned: %v", err)
		}
	})
}

func TestLoadAndUnload(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		if err := errors.Join(r.Forget("m"), r.Unload(r.Context(), "plan:m-fp16-4")); err != nil {
			r.Fatal(err)
		}
		r.builder.proven["slow-fp16-4"] = 4 // as after a restart
		r.add("slow", terms4)
		r.want("slow", "gpu", terms4)
		if len(r.gpu.loads) != 0 {
			r.Errorf("loaded %v, and nobody wanted it", r.gpu.loads)
		}
		if err := r.Load(r.Context(), "slow", "gpu"); err != nil || len(r.gpu.loads) != 1 || len(r.cpu.loads) != 0 {
			r.Errorf("%v, loaded %v %v", err, r.gpu.loads, r.cpu.loads)
		}

		r.add("new", terms4)
		if err := r.Load(r.Context(), "new", ""); err != nil || len(r.cpu.loads) != 1 {
			r.Errorf("%v, loaded %v", err, r.cpu.loads)
		}
		r.builder.proven["new-fp16-4"] = 4
		r.let(errors.New("once more"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(r.gpu.loads) != 2 {
			r.Errorf("loaded %v: the plan should be, as its file was", r.gpu.loads)
		}
		if err := r.Unload(r.Context(), "new"); err != nil || len(r.gpu.loads) != 1 || len(r.cpu.loads) != 0 {
			r.Errorf("%v, still loaded %v %v", err, r.gpu.loads, r.cpu.loads)
		}
	})
}

// A node whose GPUs are missing, and one that has never heard of any.
func TestWithoutGPU(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.want("m", "cpu", terms4)
		refuse := cachemgr.Terms{Fallback: api.FallbackRefuse}
		if _, err := r.Infer(r.Context(), request("m", 1, refuse)); !errors.Is(err, cachemgr.ErrBuilding) || !strings.Contains(err.Error(), "no driver") {
			r.Errorf("refused with %v", err)
		}
		if err := r.Add(cachemgr.Model{Digest: "p", Format: engine.FormatPlan}); !errors.Is(err, engine.ErrUnavailable) {
			r.Errorf("a plan: %v", err)
		}
	}, func(c *Config) { c.GPU, c.NoGPU, c.Builder = nil, errors.New("no driver"), nil })
	inBubble(t, func(r *rig) {
		r.add("m", cachemgr.Terms{Fallback: api.FallbackRefuse})
		res, err := r.Infer(r.Context(), request("m", 1, cachemgr.Terms{Fallback: api.FallbackRefuse}))
		if err != nil || res.Outcome != api.CacheHit { // it is where it belongs
			r.Errorf("%+v, %v", res, err)
		}
		if r.Status().Generation != r.cpu.Status().Generation {
			r.Error("the status is not the CPU's")
		}
	}, func(c *Config) { c.GPU, c.Builder = nil, nil })
}
