package cachemgr

import (
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// purpose is what a ticket waits for in the end.
type purpose int

const (
	toRun      purpose = iota // a slot to compute in; the ticket then holds a lease
	toLoad                    // the model resident
	toDescribe                // the model staged
)

// place is the list that a ticket is in.
type place int

const (
	nowhere place = iota // settled, or not yet placed
	atModel              // model.waiting
	atSlot               // slot.waiting
	atRun                // device.run
)

// ticket is a call that waits. Guarded by Manager.mu until it is settled; then
// done is closed and its fields are the caller's.
type ticket struct {
	model   *model
	purpose purpose
	hint    engine.DeviceID
	number  uint64 // grows with every ticket
	arrived time.Time

	at   place
	dev  *device // where it counts as queued; nil with toDescribe
	slot *slot   // from atSlot on

	settled bool
	err     error
	swap    time.Duration // of the wait, for the model to be opened and loaded
	done    chan struct{}
}

// runQueue orders the requests that hold a lease and wait to compute. The order
// is by arrival now; one that knows deadlines fits behind the same methods.
type runQueue interface {
	push(*ticket)
	remove(*ticket)
	// next takes out the first ticket that is ready; nil if none is.
	next(ready func(*ticket) bool) *ticket
	all() []*ticket
}

// fifo is a runQueue by arrival: a request that waited for its model keeps its
// place among those that came after it.
type fifo struct{ tickets []*ticket }

func (q *fifo) push(t *ticket) {
	at := len(q.tickets)
	for at > 0 && q.tickets[at-1].number > t.number {
		at--
	}
	q.tickets = slices.Insert(q.tickets, at, t)
}

func (q *fifo) remove(t *ticket) { q.tickets = without(q.tickets, t) }

func (q *fifo) next(ready func(*ticket) bool) *ticket {
	for i, t := range q.tickets {
		if ready(t) {
			q.tickets = slices.Delete(q.tickets, i, i+1)
			return t
		}
	}
	return nil
}

func (q *fifo) all() []*ticket { return slices.Clone(q.tickets) }

// without takes x out of a list; the lists here are short (Config.QueueDepth).
func without[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
