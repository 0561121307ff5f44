package cachemgr

import (
	"context"
	"errors"
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

func TestAddWithAnotherPathIsTriedAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		if err := r.m.Add(Model{Digest: "a", Name: "a", Path: "missing", Size: 10}); err != nil {
			r.Fatal(err)
		}
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrBadModel) {
			r.Errorf("error %v, want ErrBadModel", err)
		}
		r.add("a", 10)
		r.want("a", api.CacheLoad)
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
