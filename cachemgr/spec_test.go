package cachemgr

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestSpec(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("early", 10)
		r.addAs("late", testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, Late: true})
		for name, state := range map[string]api.State{"early": api.StateStaged, "late": api.StateResident} {
			spec, err := r.m.Spec(r.Context(), name)
			if err != nil || !spec.Known || len(spec.Inputs) != 1 {
				r.Errorf("%s: %+v, error %v", name, spec, err)
			}
			r.wantState(name, state)
			if err := r.m.Unload(r.Context(), name); err != nil {
				r.Error(err)
			}
			if again, err := r.m.Spec(r.Context(), name); err != nil || !again.Known {
				r.Errorf("%s: %+v, error %v", name, again, err)
			}
			r.wantState(name, api.StateAbsent) // it was known
		}
		if _, err := r.m.Spec(r.Context(), "x"); !errors.Is(err, ErrUnknownModel) {
			r.Errorf("error %v, want ErrUnknownModel", err)
		}
	})
}

func TestSpecOfABadModel(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 10)
		r.fail(testengine.Open, "a", engine.ErrBadModel)
		if _, err := r.m.Spec(r.Context(), "a"); !errors.Is(err, engine.ErrBadModel) || errors.Is(err, ErrFailed) {
			r.Errorf("error %v, want ErrBadModel", err)
		}
		if _, err := r.m.Spec(r.Context(), "a"); !errors.Is(err, engine.ErrBadModel) || !errors.Is(err, ErrFailed) {
			r.Errorf("error %v, want ErrFailed", err)
		}
	})
}

func TestSpecOfWhatFitsNoDevice(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 500)
		if spec, err := r.m.Spec(r.Context(), "a"); err != nil || !spec.Known {
			r.Errorf("%+v, error %v", spec, err)
		}
	})
}

func TestPrefetch(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		load := r.hold(testengine.Load, "a")
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		if err := r.m.Load(ctx, "a", ""); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("error %v, want DeadlineExceeded", err)
		}
		close(load)
		r.wantState("a", api.StateResident) // all the same
		r.want("a", api.CacheHit)
		if st := r.m.Status().Models["a"].Stats; st.Loads+st.Swaps+st.Failures != 0 {
			r.Errorf("%+v counts a prefetch as a request", st)
		}
		if err := r.m.Load(r.Context(), "x", ""); !errors.Is(err, ErrUnknownModel) {
			r.Errorf("error %v, want ErrUnknownModel", err)
		}
	})
}
