package dispatch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// use is what tells whether a function is used. It is the same one as long as the
// function has its UID.
type use struct {
	requests atomic.Int64 // that wait for a replica or have one; grows only while Dispatcher.mu is held
	last     atomic.Int64 // when the last one ended, in nanoseconds since 1970
	resting  bool         // it is being scaled to zero; Dispatcher.mu guards it
}

func (u *use) begin() { u.requests.Add(1) }

func (u *use) end(now time.Time) {
	u.touch(now)
	u.requests.Add(-1)
}

// touch counts as a use that is over.
func (u *use) touch(now time.Time) { u.last.Store(now.UnixNano()) }

func (u *use) since() time.Time { return time.Unix(0, u.last.Load()) }

// usedSince reports whether there was a use after a time, or is one now.
func (u *use) usedSince(at time.Time) bool {
	return u.requests.Load() > 0 || u.since().After(at)
}

// useOf is the use of f, known is the same function a moment ago or nil. Being
// deployed, woken, and getting ready count as uses: whoever did that had a reason.
func useOf(f *runtime.Function, known *Function, now time.Time) *use {
	if known == nil || known.runtime.UID != f.UID {
		u := &use{}
		u.touch(now)
		return u
	}
	was := known.runtime
	if was.Desired == 0 && f.Desired > 0 || present(was) != present(f) ||
		function.ReadyReplicas(was) == 0 && function.ReadyReplicas(f) > 0 {
		known.use.touch(now)
	}
	return known.use
}

// present is the name of a function's present revision.
func present(f *runtime.Function) string {
	if len(f.Revisions) == 0 {
		return ""
	}
	return f.Revisions[0]
}

// Use of a function.
type Use struct {
	ID    runtime.ID
	Scale function.Scale
	// Replicas that are wanted.
	Replicas int
	// Requests that wait for a replica or have one; one that was upgraded is a
	// request as long as its connection lasts.
	Requests int
	// Since is when the last request ended; or, if that was later, when the function
	// was deployed, woken or got ready, or when the Dispatcher was made.
	Since time.Time
}

// Uses tells how all functions are used, in no order.
func (d *Dispatcher) Uses() []Use {
	d.follow()
	functions := *d.functions.Load()
	uses := make([]Use, 0, len(functions))
	for id, f := range functions {
		uses = append(uses, Use{
			ID: id, Scale: f.Spec.Scale, Replicas: f.runtime.Desired,
			Requests: int(f.use.requests.Load()), Since: f.use.since(),
		})
	}
	return uses
}

// Rest scales a function to zero if it was not used after since. It reports whether
// it did. Requests that come meanwhile wait, and wake it again.
func (d *Dispatcher) Rest(ctx context.Context, id runtime.ID, since time.Time) (bool, error) {
	f := (*d.functions.Load())[id]
	if f == nil || !d.beginRest(f, since) {
		return false, nil
	}
	err := d.cfg.Runtime.Scale(ctx, id, 0)
	d.endRest(id, f.use)
	return err == nil, err
}

// beginRest takes the replicas of an unused function out of service: from now on
// none of them gets a request.
func (d *Dispatcher) beginRest(f *Function, since time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || f.use.resting || f.use.usedSince(since) {
		return false
	}
	f.use.resting = true
	d.step(time.Now(), sched.Event{Kind: sched.Replicas, Function: f.Key, Wakeable: d.cfg.WakeFromZero, Policy: f.Spec.GPU.Policy}, 0)
	return true
}

// endRest shows the scheduler what replicas there are now.
func (d *Dispatcher) endRest(id runtime.ID, u *use) {
	d.follow() // a snapshot from before would show replicas that leave
	d.following.Lock()
	defer d.following.Unlock()
	d.mu.Lock()
	u.resting = false
	d.mu.Unlock()
	if f := (*d.functions.Load())[id]; f != nil {
		d.setReplicas(f, f)
	}
}
