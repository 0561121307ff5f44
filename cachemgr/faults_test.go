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

func TestDeviceLost(t *testing.T) {
	for _, op := range []testengine.Op{testengine.Run, testengine.Load, testengine.Evict} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 30)
				r.add("b", 30)
				r.add("c", 90)
				r.want("a", api.CacheLoad)
				running := r.hold(testengine.Run, "a")
				first, turn := r.start("a"), r.start("a") // one runs, one waits for its turn
				lost := fmt.Errorf("fell off the bus: %w", engine.ErrDeviceLost)
				var hit *pending
				switch op {
				case testengine.Run:
					running <- lost
					hit = first
				case testengine.Load:
					load := r.hold(testengine.Load, "b")
					hit = r.start("b")
					load <- lost
					close(load)
				case testengine.Evict:
					evict := r.hold(testengine.Evict, "a")
					hit = r.start("c") // wants a's bytes
					running <- nil
					synctest.Wait()
					running <- nil // turn has its lease, so it runs too
					evict <- lost
					close(evict)
				}
				close(running)
				if _, err := hit.wait(); !errors.Is(err, engine.ErrDeviceLost) {
					r.Errorf("error %v, want ErrDeviceLost", err)
				}
				if _, err := turn.wait(); op != testengine.Evict && !errors.Is(err, engine.ErrDeviceLost) {
					r.Errorf("who waited for a turn: error %v, want ErrDeviceLost", err)
				}
				first.wait()
				synctest.Wait()
				r.wantBytes(api.DeviceStatus{})
				if _, err := r.infer(r.Context(), "b"); !errors.Is(err, engine.ErrDeviceLost) || !errors.Is(err, ErrFailed) {
					r.Errorf("error %v, want ErrDeviceLost until the next attempt", err)
				}
				time.Sleep(time.Second)
				r.want("a", api.CacheLoad) // the device is back
			})
		})
	}
}

func TestLostDeviceIsNotChosen(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 30)
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if c.Device == "one" {
				return engine.ErrDeviceLost
			}
			return nil
		}
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("error %v, want ErrDeviceLost", err)
		}
		if res, err := r.infer(r.Context(), "a"); err != nil || res.Device != "two" {
			r.Errorf("ran on %q with error %v, want device two", res.Device, err)
		}
	}, func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{{ID: "one", FreeBytes: 100}, {ID: "two", FreeBytes: 100}}
	})
}

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
