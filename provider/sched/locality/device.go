package locality

import (
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// device is one sched.Device and what it has to do.
type device struct {
	sched.Device
	index int
	node  *node
	class int
	way   *way
	// credits is how many requests it may hold, slots how many it computes at once.
	credits, slots int

	held   []*request // in the order they were given
	since  uint64     // when it last got room, see Scheduler.room
	freeAt instant    // when the held requests are expected to be done
	bound  queue      // requests that wait for this device only
	work   instant    // what the bound requests take of it
	used   int64      // bytes of the models that are here, or coming

	hits  lineHeap // lines whose model may be here
	lanes []*lane  // that it may serve
	gone  bool     // no longer one of the devices
}

// free is when d is expected to be done with all that was given and bound to it.
func (d *device) free(now instant) instant { return max(now, d.freeAt) + d.work }

// fits reports whether the models of all requests that d then holds have room
// together. Others can be evicted, these cannot.
func (d *device) fits(m *model) bool {
	bytes := m.bytes
	for i, h := range d.held {
		other := h.line.model
		if other == m {
			return true
		}
		if !holds(d.held[:i], other) {
			bytes += other.bytes
		}
	}
	return bytes <= d.Budget
}

func holds(held []*request, m *model) bool {
	for _, h := range held {
		if h.line.model == m {
			return true
		}
	}
	return false
}

// expect is when the held requests are done if they go on at now.
func (d *device) expect(now instant) instant {
	for _, h := range d.held {
		now = max(now, h.ready) + h.takes
	}
	return now
}

// takes is for how long a request for m keeps d from others: of a device that
// computes several at once each takes its part.
func (d *device) takes(m *model) instant { return m.prices[d.class].compute / instant(d.slots) }

// node is a machine with devices.
type node struct {
	index int
	was   int // index before the devices changed, -1 if it is new
}

// way is what models pass from host memory into devices; one at a time.
type way struct {
	freeAt   instant // when what was sent over it is expected to be through
	fetching int     // requests that were given to devices and fetch
}

// model is what is known of a model.
type model struct {
	name    string
	bytes   int64
	prices  []price // by class
	fastest instant // compute on the fastest class
	// leastMiss is what a miss costs on the best class, with nothing in its way.
	leastMiss instant
	here      bitset // devices that have it, or will
	coming    bitset // those of them that do not have it yet
	staged    bitset // nodes that have it in host memory
	lines     []*line
	users     int  // requests
	gone      bool // to be forgotten when there are none
}

// price is one sched.Price.
type price struct {
	known               bool
	estimated           bool
	load, swap, compute time.Duration
}

// function is what is known of a function.
type function struct {
	name     string
	wakeable bool
	gone     bool
	policy   Policy
	place    policy // where its requests go; nil: no device is chosen for them
	replicas []*replica
	lines    []*line
	waiting  int
}

// replica is one sched.Replica.
type replica struct {
	sched.Replica
	inFlight   int
	avoidUntil instant // 0 if it is not avoided
	gone       bool
}

// usable reports whether r may be given a request, but for how many it serves.
func (r *replica) usable() bool { return r.Ready && r.avoidUntil == 0 }

// ready reports whether f has a ready replica.
func (f *function) ready() bool {
	for _, r := range f.replicas {
		if r.Ready {
			return true
		}
	}
	return false
}

// full reports whether r serves as many requests as it may.
func (r *replica) full() bool { return r.Capacity > 0 && r.inFlight >= r.Capacity }

// on is the replica on a node that serves the fewest requests and may have one
// more, nil if there is none.
func (f *function) on(node string) *replica {
	var best *replica
	for _, r := range f.replicas {
		if r.Node == node && r.usable() && !r.full() && (best == nil || r.inFlight < best.inFlight) {
			best = r
		}
	}
	return best
}

// livesOn reports whether f has a ready replica on a node, though it may be full, or
// avoided for now.
func (f *function) livesOn(node string) bool {
	for _, r := range f.replicas {
		if r.Node == node && r.Ready {
			return true
		}
	}
	return false
}
