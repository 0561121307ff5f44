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

// Who waited behind one that gave up goes on at that moment.
func TestOneThatExpiresLetsTheNextGoOn(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("busy", 60)
		r.add("big", 60)
		r.add("small", 10)
		for _, name := range []string{"big", "small"} { // in host memory
			if _, err := r.m.Spec(r.Context(), name); err != nil {
				r.Fatal(err)
			}
		}
		run := r.hold(testengine.Run, "busy")
		busy := r.start("busy")
		big := r.start("big")
		time.Sleep(10 * time.Second)
		small := r.start("small")
		if small.isDone() {
			r.Fatal("it did not wait for its turn")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if _, err := big.wait(); !errors.Is(err, ErrOverloaded) {
			r.Errorf("the first: %v, want ErrOverloaded", err)
		}
		r.wantState("small", api.StateResident)
		close(run)
		busy.wait()
		if res, err := small.wait(); err != nil || res.Queue < 20*time.Second {
			r.Errorf("the second: %+v, %v", res, err)
		}
	})
}

// A model that was forgotten while it was opened leaves nothing, also if it could
// not be opened.
func TestForgottenWhileItFailsToOpen(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		open := r.hold(testengine.Open, "a")
		p := r.start("a")
		if err := r.m.Forget("a"); err != nil {
			r.Error(err)
		}
		open <- engine.ErrBadModel
		close(open)
		if _, err := p.wait(); !errors.Is(err, ErrUnknownModel) {
			r.Errorf("error %v, want ErrUnknownModel", err)
		}
		synctest.Wait()
		if n := len(r.m.entries); n != 0 {
			r.Errorf("%d entries are left", n)
		}
	})
}

// A device that came back starts anew with its patience.
func TestDeviceLostAgainLater(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 30)
		for range 3 {
			run := r.hold(testengine.Run, "a")
			p := r.start("a")
			run <- engine.ErrDeviceLost
			close(run)
			if _, err := p.wait(); !errors.Is(err, engine.ErrDeviceLost) {
				r.Fatalf("error %v, want ErrDeviceLost", err)
			}
			if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrFailed) {
				r.Errorf("error %v, want ErrFailed", err)
			}
			time.Sleep(time.Second)
			r.want("a", api.CacheLoad)
		}
	})
}

// A second attempt waits until the memory that it is about has come back.
func TestSecondAttemptWaitsForTheMemory(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("idle", 10)
		r.add("a", 10)
		if _, err := r.m.Spec(r.Context(), "idle"); err != nil {
			r.Fatal(err)
		}
		leaving, proceed, opens := false, make(chan struct{}), 0
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			switch c {
			case testengine.Call{Op: testengine.Unstage, Model: "idle"}:
				leaving = true
				<-proceed
				leaving = false
			case testengine.Call{Op: testengine.Open, Model: "a"}:
				if opens++; opens == 1 || leaving {
					return engine.ErrNoMemory
				}
			}
			return nil
		}
		p := r.start("a")
		if !leaving || opens != 1 {
			r.Errorf("the idle model leaves: %v, after %d attempts", leaving, opens)
		}
		close(proceed)
		if _, err := p.wait(); err != nil || opens != 2 {
			r.Errorf("error %v after %d attempts", err, opens)
		}
	})
}
