package dispatch

import (
	"context"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Lease is the right to send one request to one replica. It ends with Done.
type Lease struct {
	d  *Dispatcher
	id sched.RequestID

	Replica string // its ID
	Address string // host:port
	Device  string // a hint, "" for none
}

// Done ends the lease: the request has been answered, or has failed for good.
// Ending the zero Lease does nothing.
func (l *Lease) Done() {
	if l.d == nil {
		return
	}
	now := time.Now()
	l.d.mu.Lock()
	l.d.step(now, sched.Event{Kind: sched.Done, ID: l.id}, 0)
	l.d.mu.Unlock()
	l.d = nil
}

// Retry changes the lease for one of another replica, because this one could not
// be reached and nothing of the request has been handled. If there is none, the
// lease has ended and the error is as from Acquire.
func (l *Lease) Retry(ctx context.Context, f *Function) error {
	d, id := l.d, l.id
	*l = Lease{}
	now := time.Now()
	d.mu.Lock()
	d.stats.Retries++
	next, err := d.settle(ctx, f, now, sched.Event{Kind: sched.Returned, ID: id}, id)
	if err != nil {
		return err
	}
	*l = next
	return nil
}
