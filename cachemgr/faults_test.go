package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// fail makes the calls of one kind fail, until heal is called; calls counts them.
func (r *rig) fail(op testengine.Op, model string, err error) (heal func(), calls func() int) {
	failing := true
	n := 0
	r.engine.Before = func(_ context.Context, c testengine.Call) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if c.Op != op || c.Model != model {
			return nil
		}
		n++
		if failing {
			return err
		}
		return nil
	}
	heal = func() { r.mu.Lock(); defer r.mu.Unlock(); failing = false }
	calls = func() int { r.mu.Lock(); defer r.mu.Unlock(); return n }
	return heal, calls
}

func TestBadModelIsNotTriedAgainTooSoon(t *testing.T) {
	for _, op := range []testengine.Op{testengine.Open, testengine.Load} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 60)
				heal, calls := r.fail(op, "a", fmt.Errorf("no magic: %w", engine.ErrBadModel))
				wait := time.Second
				for attempt := 1; attempt <= 10; attempt++ {
					if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrBadModel) || errors.Is(err, ErrFailed) {
						r.Fatalf("attempt %d: error %v, want ErrBadModel itself", attempt, err)
					}
					r.wantState("a", api.StateFailed)
					time.Sleep(wait - 1)
					_, err := r.infer(r.Context(), "a")
					var failed *FailedError
					if !errors.Is(err, engine.ErrBadModel) || !errors.Is(err, ErrFailed) || !errors.As(err, &failed) || failed.RetryAt != time.Now().Add(1) {
						r.Fatalf("attempt %d: error %v, want ErrFailed until a nanosecond from now", attempt, err)
					}
					if calls() != attempt {
						r.Fatalf("%d calls of the engine, want %d", calls(), attempt)
					}
					time.Sleep(1)
					wait = min(2*wait, 5*time.Minute)
				}
				heal()
				if _, err := r.infer(r.Context(), "a"); err != nil {
					r.Error(err)
				}
				r.wantState("a", api.StateResident)
				if err := r.m.Unload(r.Context(), "a"); err != nil {
					r.Error(err)
				}
				r.wantState("a", api.StateAbsent) // the failures are forgotten
			})
		})
	}
}

func TestShortMemoryEvictsIdleModelsAndTriesOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		op      testengine.Op
		healed  bool
		victim  api.State // of the idle model, after it
		wantErr error
	}{
		{"on the device, helps", testengine.Load, true, api.StateStaged, nil},
		{"on the device, in vain", testengine.Load, false, api.StateStaged, engine.ErrNoMemory},
		{"on the host, helps", testengine.Open, true, api.StateAbsent, nil},
		{"on the host, in vain", testengine.Open, false, api.StateAbsent, engine.ErrNoMemory},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("idle", 10)
				r.add("a", 10)
				if c.op == testengine.Load {
					r.want("idle", api.CacheLoad)
				} else if _, err := r.m.Spec(r.Context(), "idle"); err != nil {
					r.Fatal(err)
				}
				calls := 0
				r.engine.Before = func(_ context.Context, call testengine.Call) error {
					if call.Op != c.op || call.Model != "a" {
						return nil
					}
					calls++
					if calls == 2 && c.healed {
						return nil
					}
					return engine.ErrNoMemory
				}
				_, err := r.infer(r.Context(), "a")
				if !errors.Is(err, c.wantErr) || calls != 2 {
					r.Errorf("error %v after %d calls, want %v after 2", err, calls, c.wantErr)
				}
				r.wantState("idle", c.victim)
				if c.wantErr != nil {
					if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrFailed) || calls != 2 {
						r.Errorf("error %v after %d calls, want ErrFailed after 2", err, calls)
					}
				}
			})
		})
	}
}

func TestShortMemoryWithNothingIdleIsNotTriedTwice(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 10)
		_, calls := r.fail(testengine.Load, "a", engine.ErrNoMemory)
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrNoMemory) || calls() != 1 {
			r.Errorf("error %v after %d calls, want ErrNoMemory after 1", err, calls())
		}
	})
}

func TestDriverHasLessThanTheBudget(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, name := range []string{"a", "b", "c"} {
			r.add(name, 20)
			r.want(name, api.CacheLoad)
		}
		r.add("d", 20)
		// Somebody else took memory: 5 bytes are left, so one model is missing.
		r.engine.List[0].FreeBytes = 5
		evicting := r.hold(testengine.Evict, "a")
		d := r.start("d")
		r.wantState("a", api.StateDraining)
		r.wantState("b", api.StateResident)
		r.engine.List[0].FreeBytes = 25
		close(evicting)
		if _, err := d.wait(); err != nil {
			r.Error(err)
		}
	})
}

func TestErrorsOfTheModelArePassedOn(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 40)
		if _, err := r.m.Infer(r.Context(), Request{Digest: "a"}); !errors.Is(err, engine.ErrBadInput) {
			r.Errorf("error %v, want ErrBadInput", err)
		}
		if n := r.m.Status().Models["a"].Stats.Failures; n != 1 {
			r.Errorf("%d failures, want 1", n)
		}
		r.want("a", api.CacheHit)
	})
}

func TestCloseOfAnInstanceFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		r.want("a", api.CacheLoad)
		r.fail(testengine.Evict, "a", errInjected)
		r.want("b", api.CacheLoad)
		r.wantState("a", api.StateStaged)
	})
}

// TestShortMemoryWhileUnloading: the second attempt starts from disk.
func TestShortMemoryWhileUnloading(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("idle", 10)
		r.want("idle", api.CacheLoad)
		r.add("a", 10)
		load := r.hold(testengine.Load, "a")
		p := r.start("a")
		unloaded := make(chan error)
		go func() { unloaded <- r.m.Unload(r.Context(), "a") }()
		synctest.Wait()
		load <- engine.ErrNoMemory
		if err := <-unloaded; err != nil {
			r.Error(err)
		}
		r.wantState("idle", api.StateStaged)
		close(load)
		if _, err := p.wait(); err != nil {
			r.Error(err)
		}
		if n := r.engine.Calls(testengine.Call{Op: testengine.Open, Model: "a"}); n != 2 {
			r.Errorf("opened %d times, want 2", n)
		}
	})
}
