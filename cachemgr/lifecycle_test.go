package cachemgr

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestAddWantsWhatItNeeds(t *testing.T) {
	r := newRig(t)
	for _, m := range []Model{
		{Path: "p", Size: 1}, {Digest: "d", Size: 1}, {Digest: "d", Path: "p", Size: -1},
	} {
		if err := r.m.Add(m); err == nil {
			t.Errorf("%+v was added", m)
		}
	}
	if n := len(r.m.Status().Models); n != 0 {
		t.Errorf("%d models are known", n)
	}
	r.closeEmpty()
}

func TestAddAgainKeepsTheModel(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.want("a", api.CacheLoad)
		r.add("a", 60)
		r.want("a", api.CacheHit)
	})
}

// TestForgetAtEveryStage forgets a model wherever its request may be. Who waits
// gets ErrUnknownModel, who runs its answer, and nothing stays behind.
func TestForgetAtEveryStage(t *testing.T) {
	for _, c := range []struct {
		name    string
		op      testengine.Op // held while the model is forgotten
		idle    bool          // no request was there
		wantErr error
	}{
		{"on disk", "", true, nil},
		{"while it is opened", testengine.Open, false, ErrUnknownModel},
		{"while it is loaded", testengine.Load, false, ErrUnknownModel},
		{"while it runs", testengine.Run, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 60)
				gate := r.hold(c.op, "a")
				var p *pending
				if !c.idle {
					p = r.start("a")
				}
				if err := r.m.Forget("a"); err != nil {
					r.Fatal(err)
				}
				if err := r.m.Forget("a"); err != nil {
					r.Errorf("forgetting twice: %v", err)
				}
				r.wantState("a", "unknown")
				if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrUnknownModel) {
					r.Errorf("afterwards: error %v, want ErrUnknownModel", err)
				}
				if p != nil {
					if c.wantErr != nil && !p.isDone() {
						r.Error("the request still waits")
					}
				}
				r.add("a", 30) // a new one, beside what is left of the old
				close(gate)
				if p != nil {
					if _, err := p.wait(); !errors.Is(err, c.wantErr) {
						r.Errorf("error %v, want %v", err, c.wantErr)
					}
				}
				r.want("a", api.CacheLoad)
				r.wantBytes(api.DeviceStatus{Resident: 30})
				if err := r.m.Forget("a"); err != nil {
					r.Error(err)
				}
				r.wantBytes(api.DeviceStatus{})
				if n := len(r.m.entries); n != 0 {
					r.Errorf("%d entries are left", n)
				}
			})
		})
	}
}

func TestUnloadAtEveryStage(t *testing.T) {
	for _, op := range []testengine.Op{testengine.Open, testengine.Load, testengine.Run} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 60)
				gate := r.hold(op, "a")
				p := r.start("a")
				unloaded := make(chan error)
				go func() { unloaded <- r.m.Unload(r.Context(), "a") }()
				synctest.Wait()
				later := r.start("a")
				close(gate)
				if err := <-unloaded; err != nil {
					r.Error(err)
				}
				for _, x := range []*pending{p, later} { // unloading costs time, not answers
					if _, err := x.wait(); err != nil {
						r.Error(err)
					}
				}
			})
		})
	}
}

func TestUnloadWaitsForAsLongAsItMay(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		if err := r.m.Unload(r.Context(), "a"); err != nil {
			r.Errorf("on disk already: %v", err)
		}
		if err := r.m.Unload(r.Context(), "b"); !errors.Is(err, ErrUnknownModel) {
			r.Errorf("error %v, want ErrUnknownModel", err)
		}
		run := r.hold(testengine.Run, "a")
		p := r.start("a")
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := r.m.Unload(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("error %v, want DeadlineExceeded", err)
		}
		close(run)
		p.wait()
		r.wantState("a", api.StateAbsent)
	})
}

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

func TestStatusIsImmutableAndTellsOfChanges(t *testing.T) {
	inBubble(t, func(r *rig) {
		first := r.m.Status()
		select {
		case <-r.m.Changed(first.Generation - 1):
		default:
			r.Error("a change of the past is not told")
		}
		changed := r.m.Changed(first.Generation)
		select {
		case <-changed:
			r.Error("told of a change that is to come")
		default:
		}
		r.add("a", 60)
		<-changed
		second := r.m.Status()
		if second.Generation <= first.Generation || len(second.Models) != 1 || len(first.Models) != 0 {
			r.Errorf("first %+v, second %+v", first, second)
		}
		r.want("a", api.CacheLoad)
		third := r.m.Status()
		if second.Models["a"].Stats.Loads != 0 || third.Models["a"].Stats.Loads != 1 || second.Devices[0].Resident != 0 || third.Devices[0].Resident != 60 {
			r.Errorf("second %+v, third %+v", second, third)
		}
		if again := r.m.Status(); again.Generation != third.Generation {
			r.Error("the generation grew without a change")
		}
		if err := r.m.Forget("a"); err != nil {
			r.Fatal(err)
		}
		r.add("b", 1)
		if fourth := r.m.Status(); len(fourth.Models) != 1 || fourth.Models["b"].Bytes != 1 || len(third.Models) != 1 {
			r.Errorf("third %+v, fourth %+v", third, fourth)
		}
	})
}

// TestStreamSeesTheEnd follows the changes as a stream would, and must have seen
// the last state when nothing changes any more.
func TestStreamSeesTheEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		var seen []Status
		stop := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			st := r.m.Status()
			for {
				select {
				case <-r.m.Changed(st.Generation):
					st = r.m.Status()
					seen = append(seen, st)
				case <-stop:
					return
				}
			}
		}()
		for range 10 {
			for _, name := range []string{"a", "b"} {
				if _, err := r.infer(r.Context(), name); err != nil {
					r.Fatal(err)
				}
			}
		}
		synctest.Wait()
		close(stop)
		<-stopped
		last := seen[len(seen)-1]
		if a := last.Models["a"].Stats; a.Loads != 1 || a.Swaps != 9 || last.Devices[0].Running != 0 {
			r.Errorf("the last status seen is %+v", last)
		}
		if !slices.IsSortedFunc(seen, func(a, b Status) int { return int(a.Generation) - int(b.Generation) }) {
			r.Error("generations do not grow")
		}
	})
}
