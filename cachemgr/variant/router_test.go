package variant

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

var terms4 = cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4}

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

func TestSpecOfWhatIsRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		began := time.Now()
		r.add("m", cachemgr.Terms{Fallback: api.FallbackRefuse})
		if _, err := r.Spec(r.Context(), "m"); !errors.Is(err, cachemgr.ErrBuilding) || time.Since(began) > 0 {
			r.Errorf("after %v: %v", time.Since(began), err)
		}
	}, func(c *Config) { c.CPU = nil })
	inBubble(t, func(r *rig) {
		began := time.Now()
		r.add("m", cachemgr.Terms{})
		if _, err := r.Spec(r.Context(), "m"); !errors.Is(err, cachemgr.ErrBuilding) || time.Since(began) > 0 {
			r.Errorf("no plans are built, after %v: %v", time.Since(began), err)
		}
	}, func(c *Config) { c.CPU, c.Builder = nil, nil })
}

// A file that the CPU cannot take is a GPU's alone.
func TestTooLargeForTheCPU(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.cpu.specErr = cachemgr.ErrTooLarge
		r.add("m", terms4)
		if _, err := r.Spec(r.Context(), "m"); !errors.Is(err, cachemgr.ErrTooLarge) {
			r.Errorf("got %v", err)
		}
		wait := terms4
		wait.Fallback = api.FallbackWait
		r.add("m", wait)
		go func() { time.Sleep(time.Second); r.builder.let <- nil }()
		if s, err := r.Spec(r.Context(), "m"); err != nil || !s.Known {
			r.Errorf("%+v, %v", s, err)
		}
		r.want("m", "gpu", terms4)
	})
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
