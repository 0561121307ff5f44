package cachemgr

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestCloseWaitsForWhatWasAdmitted(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		run := r.hold(testengine.Run, "a")
		a, b := r.start("a"), r.start("b")
		closed := make(chan error)
		go func() { closed <- r.m.Close(r.Context()) }()
		synctest.Wait()
		for name, err := range map[string]error{
			"infer":  second(r.infer(r.Context(), "a")),
			"add":    r.m.Add(Model{Digest: "c", Path: "c"}),
			"load":   r.m.Load(r.Context(), "a", ""),
			"unload": r.m.Unload(r.Context(), "a"),
			"pin":    r.m.Pin("a", true),
			"spec":   second(r.m.Spec(r.Context(), "a")),
		} {
			if !errors.Is(err, ErrClosed) {
				r.Errorf("%s: error %v, want ErrClosed", name, err)
			}
		}
		close(run)
		if err := <-closed; err != nil {
			r.Error(err)
		}
		for _, p := range []*pending{a, b} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestCloseInAHurry(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, name := range []string{"running", "loading", "opening"} {
			r.add(name, 30)
		}
		run := r.hold(testengine.Run, "running")
		r.hold(testengine.Load, "loading")
		r.hold(testengine.Open, "opening")
		running, turn := r.start("running"), r.start("running")
		waiting := []*pending{turn, r.start("loading"), r.start("opening")}
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := r.m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("error %v, want DeadlineExceeded", err)
		}
		for i, p := range waiting {
			if _, err := p.wait(); !errors.Is(err, ErrClosed) {
				r.Errorf("request %d: error %v, want ErrClosed", i, err)
			}
		}
		if running.isDone() {
			r.Error("the run was cut off")
		}
		close(run)
		if _, err := running.wait(); err != nil {
			r.Error(err)
		}
	})
}
