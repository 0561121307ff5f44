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

// TestCancellationAtEveryStage stops a request wherever it may wait. Each time it
// must end at once, and all must be as if it had never come.
func TestCancellationAtEveryStage(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(r *rig) (undo func())
		after   api.State // of a, once all is done
	}{
		{"waiting for host memory", func(r *rig) func() {
			open := r.hold(testengine.Open, "other") // takes 990 of 1000 bytes
			other := r.start("other")
			return func() { close(open); other.wait() }
		}, api.StateAbsent},
		{"while it is opened", func(r *rig) func() {
			open := r.hold(testengine.Open, "a")
			return func() { close(open) }
		}, api.StateStaged},
		{"waiting for device memory", func(r *rig) func() {
			r.add("busy", 60)
			run := r.hold(testengine.Run, "busy")
			busy := r.start("busy")
			return func() { close(run); busy.wait() }
		}, api.StateStaged},
		{"while it is loaded", func(r *rig) func() {
			load := r.hold(testengine.Load, "a")
			return func() { close(load) }
		}, api.StateResident},
		{"waiting for its turn", func(r *rig) func() {
			r.add("busy", 10)
			run := r.hold(testengine.Run, "busy")
			busy := r.start("busy")
			return func() { close(run); busy.wait() }
		}, api.StateResident},
		{"while it runs", func(r *rig) func() {
			run := r.hold(testengine.Run, "a")
			return func() { close(run) }
		}, api.StateResident},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 60)
				r.addAs("other", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 990}})
				undo := c.prepare(r)
				p := r.start("a")
				if p.isDone() {
					r.Fatalf("did not wait: %v", p.err)
				}
				p.cancel()
				synctest.Wait()
				if !p.isDone() || !errors.Is(p.err, context.Canceled) {
					r.Errorf("done: %v, error %v; want context.Canceled at once", p.isDone(), p.err)
				}
				r.check()
				undo()
				r.wantState("a", c.after)
				if d := r.m.Status().Devices[0]; d.Queued != 0 || d.Running != 0 {
					r.Errorf("%d queued, %d running", d.Queued, d.Running)
				}
				if _, err := r.infer(r.Context(), "a"); err != nil {
					r.Error(err)
				}
			})
		})
	}
}

func TestWhoLeavesDoesNotStopTheOthersLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		open, load := r.hold(testengine.Open, "a"), r.hold(testengine.Load, "a")
		first, second, third := r.start("a"), r.start("a"), r.start("a")
		first.cancel()
		open <- nil
		r.wantState("a", api.StateLoading)
		second.cancel()
		load <- nil
		if _, err := third.wait(); err != nil {
			r.Error(err)
		}
		for _, p := range []*pending{first, second} {
			if _, err := p.wait(); !errors.Is(err, context.Canceled) {
				r.Errorf("error %v, want context.Canceled", err)
			}
		}
		close(open)
		close(load)
	})
}

func TestCancelledContextIsNotAdmitted(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		if _, err := r.infer(ctx, "a"); !errors.Is(err, context.Canceled) {
			r.Errorf("error %v, want context.Canceled", err)
		}
		r.wantState("a", api.StateAbsent)
	})
}

// TestLeavingTooLate: ctx ends in the moment in which the wait is over.
func TestLeavingTooLate(t *testing.T) {
	for _, c := range []struct {
		name    string
		purpose purpose
		settled error
		want    error
	}{
		{"its turn had come", toRun, nil, context.Canceled},
		{"it was loaded", toLoad, nil, nil},
		{"it had failed", toRun, ErrFailed, ErrFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 10)
				load := r.hold(testengine.Load, "a")
				r.m.mu.Lock()
				tick := r.m.newTicket(r.m.models["a"], c.purpose, "", time.Now())
				err := r.m.enqueue(tick, r.m.devices[0])
				r.m.mu.Unlock()
				if err != nil {
					r.Fatal(err)
				}
				load <- c.settled
				close(load)
				<-tick.done
				if err := r.m.leave(tick, context.Canceled); !errors.Is(err, c.want) {
					r.Errorf("error %v, want %v", err, c.want)
				}
				r.check()
				if d := r.m.Status().Devices[0]; d.Running != 0 || d.Queued != 0 {
					r.Errorf("%d running, %d queued", d.Running, d.Queued)
				}
			})
		})
	}
}
