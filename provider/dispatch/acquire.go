package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Want is what a request needs.
type Want struct {
	// Model and Version as the function calls them; "" for its only model, and for
	// the highest version.
	Model, Version string
	// SLO is how soon after Began the answer should be there. 0 is no objective;
	// negative is the model's own, if it has one.
	SLO   time.Duration
	Began time.Time
}

// request is one that asks for a lease, or has one.
type request struct {
	f     *Function
	id    sched.RequestID
	model string        // digest, "" for none
	slo   time.Duration // since began, 0 for none
	began time.Time
}

// onTime reports whether r is to be refused rather than answered late.
func (r *request) onTime() bool { return r.slo > 0 && r.f.Spec.GPU.Refuse }

// left is what is left of r's objective: at least a moment, for 0 is none.
func (r *request) left(now time.Time) time.Duration {
	if r.slo == 0 {
		return 0
	}
	return max(r.slo-now.Sub(r.began), time.Microsecond)
}

// Acquire waits for a replica to serve f. The caller ends the Lease with Done, or
// changes it for another one with Retry. The error is ctx's or one of this
// package's; then the Lease has ended, and tells the objective only.
func (d *Dispatcher) Acquire(ctx context.Context, f *Function, w Want) (Lease, error) {
	if f.failing && d.stillFailing(f) {
		return Lease{request: request{f: f}}, d.explainError(f, ErrFailing)
	}
	now := time.Now()
	d.mu.Lock()
	r := d.understood(f, w)
	d.lastID++
	r.id = d.lastID
	f.use.begin()
	return d.settle(ctx, r, now, sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: r.id, Function: f.Key, Model: r.model, Deadline: now.Add(d.cfg.Wait), SLO: r.left(now), OnTime: r.onTime(),
	}})
}

// understood finds out which file a request is about. mu is held.
func (d *Dispatcher) understood(f *Function, w Want) request {
	r := request{f: f, slo: w.SLO, began: w.Began}
	m, _ := d.fleet.Find(f.revisions, w.Model, w.Version)
	r.model = m.Digest
	if r.slo < 0 {
		r.slo = m.SLO
	}
	return r
}

// settle takes an event in that r waits for and returns what became of it, which
// may be the end of r. It is called with mu held and unlocks it.
func (d *Dispatcher) settle(ctx context.Context, r request, now time.Time, e sched.Event) (Lease, error) {
	out, settled := d.step(now, e, r.id)
	if settled {
		d.mu.Unlock()
		return d.settled(r, out)
	}
	result := make(chan outcome, 1)
	d.waiting[r.id] = result
	d.mu.Unlock()

	wait, late := d.cfg.Wait, fmt.Errorf("%w (%v)", ErrTimeout, d.cfg.Wait)
	if left := r.left(now); r.onTime() && left < wait {
		wait, late = left, &TooLateError{SLO: r.slo}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case out := <-result:
		return d.settled(r, out)
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = d.explainError(r.f, late)
	case <-d.retired:
		err = ErrRetired
	}
	d.giveUp(r.id, result)
	r.f.use.end(time.Now())
	return Lease{request: r}, err
}

// settled is what the caller is told.
func (d *Dispatcher) settled(r request, out outcome) (Lease, error) {
	if out.err == nil {
		out.lease.request = r
		return out.lease, nil
	}
	r.f.use.end(time.Now())
	if late := (*TooLateError)(nil); errors.As(out.err, &late) {
		late.SLO = r.slo
	}
	return Lease{request: r}, d.refused(r.f, out.err)
}

// giveUp takes a request back that waits, or that has just been given a replica.
func (d *Dispatcher) giveUp(id sched.RequestID, result <-chan outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, waits := d.waiting[id]; waits {
		delete(d.waiting, id)
		d.step(time.Now(), sched.Event{Kind: sched.Cancel, ID: id}, 0)
		return
	}
	if out := <-result; out.err == nil {
		d.step(time.Now(), sched.Event{Kind: sched.Done, ID: id}, 0)
	}
}

func refusal(a sched.Action) error {
	switch a.Reason {
	case sched.TooLate:
		return &TooLateError{After: a.After}
	case sched.QueueFull:
		return ErrQueueFull
	case sched.NoReplica:
		return ErrNoReplica
	case sched.Unreachable:
		return ErrUnreachable
	}
	return ErrUnknownFunction
}

// explainError adds what the runtime says is wrong with f.
func (d *Dispatcher) explainError(f *Function, err error) error {
	if now := d.cfg.Runtime.Snapshot().Functions[f.Spec.ID]; now != nil && now.Problem != "" {
		return fmt.Errorf("%w: %s", err, now.Problem)
	}
	return err
}
