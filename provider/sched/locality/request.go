package locality

import (
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// instant is a time, counted from the first event.
type instant = time.Duration

// stage of a request.
type stage uint8

const (
	queued stage = iota // in its line and lane
	bound               // waits for one device, in its queue
	held                // given to a device
)

// request is one that waits or is being served.
type request struct {
	id      sched.RequestID
	seq     uint64 // order of arrival
	line    *line
	stage   stage
	arrived instant
	due     instant // when swap wants it served, see line.rank
	late    bool    // it has missed its SLO, and due says so
	passed  int     // see lane.take

	device   *device // bound, held
	replica  *replica
	attempts int     // replicas that could not be reached
	ready    instant // held: when its model is expected on the device
	takes    instant // held, bound: see device.takes
	backlog  instant // queued: its part of lane.backlog

	links [2]link
}

// link of a request in a queue.
type link struct{ next, prev *request }

// The queues that a request can be in at once.
const (
	inLine = 0
	inLane = 1 // or in the queue of the device that it is bound to
)

// queue is a list of requests, from which any can be taken out at once.
type queue struct {
	which       int // inLine or inLane
	first, last *request
	len         int
}

// insert puts r behind all that came before it.
func (q *queue) insert(r *request) {
	after := q.last
	for after != nil && after.seq > r.seq {
		after = after.links[q.which].prev
	}
	q.insertAfter(after, r)
}

func (q *queue) push(r *request) { q.insertAfter(q.last, r) }

func (q *queue) insertAfter(after, r *request) {
	l := &r.links[q.which]
	l.prev = after
	if after == nil {
		l.next, q.first = q.first, r
	} else {
		l.next, after.links[q.which].next = after.links[q.which].next, r
	}
	if l.next == nil {
		q.last = r
	} else {
		l.next.links[q.which].prev = r
	}
	q.len++
}

func (q *queue) remove(r *request) {
	l := &r.links[q.which]
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.links[q.which].next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.links[q.which].prev = l.prev
	}
	*l = link{}
	q.len--
}
