package cachemgr

import (
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
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
	atSlot               // slot.want, in device.loads
	atRun                // slot.turn, in device.turns
)

// ticket is a call that waits. Guarded by Manager.mu until it is settled; then
// done is closed and its fields are the caller's.
type ticket struct {
	queue.Request // while it waits for a device

	model   *model
	purpose purpose
	hint    engine.DeviceID
	arrived time.Time
	client  client
	ask     *Request // what to run; nil unless toRun
	rows    int64    // that it would bring to a batch; 0 if it must run alone

	at   place
	dev  *device // where it counts as queued; nil with toDescribe
	slot *slot   // from atSlot on

	batch  *batch // that it runs in, or has run in
	former *batch // that it was in and that failed
	alone  bool   // runs in no batch
	left   bool   // gave up while its batch ran
	lead   bool   // of all in its batch it counts the run

	settled bool
	err     error
	swap    time.Duration // of the wait, for the model to be opened and loaded
	done    chan struct{}
}

// owner is the ticket of a request in a queue.
func owner(r *queue.Request) *ticket { return r.Owner.(*ticket) }

// ticketsOf lists the tickets of a group.
func ticketsOf(g *queue.Group) []*ticket {
	list := make([]*ticket, 0, g.Len())
	for r := range g.All() {
		list = append(list, owner(r))
	}
	return list
}

// byArrival sorts tickets of groups, which have no order.
func byArrival(list []*ticket) []*ticket {
	slices.SortFunc(list, func(a, b *ticket) int { return int(a.Number) - int(b.Number) })
	return list
}

// without takes x out of a list; the lists here are short (Config.QueueDepth).
func without[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
