package dispatch

import (
	"context"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/fleet"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Lease is the right to send one request to one replica. It ends with Done.
type Lease struct {
	d       *Dispatcher
	request request
	sent    time.Time
	device  string // as the scheduler knows it, "" for none; that it has yet to leave
	answer  fleet.Answer

	Replica string // its ID
	Address string // host:port
	Device  string // a hint, as its node knows it; "" for none
}

// lease is what a Dispatch gives. What the device lacks is sent for. mu is held.
func (d *Dispatcher) lease(now time.Time, a sched.Action) Lease {
	l := Lease{d: d, sent: now, device: a.Device, Replica: a.Replica, Address: d.addresses[a.Replica]}
	l.request.id = a.ID
	if a.Device == "" {
		return l
	}
	var node string
	if node, l.Device = d.fleet.Locate(a.Device); a.Model != "" && node != "" {
		d.cfg.Prefetch(node, api.PrefetchRequest{Digest: a.Model, Device: l.Device})
	}
	return l
}

// SLO is how soon after it began the request should be answered, 0 for no
// objective.
func (l *Lease) SLO() time.Duration { return l.request.slo }

// Left is what is left of the SLO now: at least a moment, 0 if there is none.
func (l *Lease) Left() time.Duration { return l.request.left(time.Now()) }

// Answered notes what the head of the answer, which has just come, tells of the
// model, for Computed and Done.
func (l *Lease) Answered(cache, device, timing string) {
	if l.device != "" && cache != "" {
		l.answer = fleet.Answer{Cache: cache, Device: device, Timing: api.ParseTiming(timing), Took: time.Since(l.sent)}
	}
}

// Computed lets the device have its next request, though the answer, whose head has
// come, may go on for long: because its client is slow, or as a stream or an upgraded
// connection of which nobody knows when, if ever, it computes. Done is to follow.
func (l *Lease) Computed() {
	if l.device == "" {
		return
	}
	now := time.Now()
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.leaveDevice(now, sched.Computed)
}

// Done ends the lease: the request has been answered, or has failed for good.
// Ending the zero Lease does nothing.
func (l *Lease) Done() {
	if l.d == nil {
		return
	}
	d, now := l.d, time.Now()
	l.request.f.use.end(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	l.leaveDevice(now, sched.Done)
	l.d = nil
}

// leaveDevice tells the scheduler that the request has left its device, and the
// fleet what the answer says of it, once. mu is held.
func (l *Lease) leaveDevice(now time.Time, kind sched.EventKind) {
	l.d.step(now, sched.Event{Kind: kind, ID: l.request.id}, 0)
	if l.device == "" {
		return
	}
	a := l.answer
	a.Given, a.Model = l.device, l.request.model
	l.device = ""
	l.d.stepAll(now, l.d.fleet.Answered(a))
}

// Retry changes the lease for one of another replica, because this one could not
// be reached and nothing of the request has been handled. If there is none, the
// lease has ended and the error is as from Acquire.
func (l *Lease) Retry(ctx context.Context) error {
	d, r := l.d, l.request
	*l = Lease{}
	now := time.Now()
	d.mu.Lock()
	d.stats.Retries++
	next, err := d.settle(ctx, r, now, sched.Event{Kind: sched.Returned, ID: r.id})
	if err != nil {
		return err
	}
	*l = next
	return nil
}
