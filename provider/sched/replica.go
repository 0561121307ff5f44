package sched

import (
	"container/heap"
	"slices"
	"time"
)

// room reports whether r may have one more request.
func (r *replica) room() bool {
	return r.Ready && !r.gone && (r.Capacity == 0 || r.inFlight < r.Capacity)
}

// free reports whether r may be given a request now.
func (r *replica) free() bool { return r.room() && r.avoidUntil.IsZero() }

// state says in words why r is, or is not, a candidate.
func (r *replica) state() string {
	switch {
	case !r.Ready:
		return "not ready"
	case !r.room():
		return "serves as many requests as it may"
	case !r.avoidUntil.IsZero():
		return "could not be reached a moment ago: tried again soon"
	}
	return "free"
}

// put makes want one of f's replicas, keeping what is known of it.
func (f *function) put(want Replica) {
	r := f.replicas[want.ID]
	if r == nil {
		r = &replica{place: -1}
		f.replicas[want.ID] = r
	}
	recovered := want.Ready && !r.Ready
	r.Replica, r.gone = want, false
	if recovered {
		f.trust(r)
	}
	f.place(r)
}

// release takes one request off r.
func (f *function) release(r *replica) {
	r.inFlight--
	f.place(r)
}

// place puts r where it belongs in f.free after any change to it.
func (f *function) place(r *replica) {
	switch inside := r.place >= 0; {
	case r.free() && inside:
		heap.Fix(&f.free, r.place)
	case r.free():
		heap.Push(&f.free, r)
	case inside:
		heap.Remove(&f.free, r.place)
	}
}

// avoid keeps r from being chosen until then.
func (f *function) avoid(r *replica, until time.Time) {
	if r.gone {
		return
	}
	if r.avoidUntil.IsZero() {
		f.avoided = append(f.avoided, r)
	}
	r.avoidUntil = until
	f.place(r)
}

// trust ends the avoidance of r.
func (f *function) trust(r *replica) {
	if r.avoidUntil.IsZero() {
		return
	}
	r.avoidUntil = time.Time{}
	f.avoided = slices.DeleteFunc(f.avoided, func(a *replica) bool { return a == r })
}

// forgive trusts the replicas again whose time is over.
func (f *function) forgive(now time.Time) {
	if len(f.avoided) == 0 {
		return
	}
	f.avoided = slices.DeleteFunc(f.avoided, func(r *replica) bool {
		over := r.gone || !now.Before(r.avoidUntil)
		if over {
			r.avoidUntil = time.Time{}
			f.place(r)
		}
		return over
	})
}

// best is the replica for the next request, nil if it has to wait.
func (f *function) best() *replica { return f.free.top() }

// await asks for what waiting requests need: a replica if there is none, an alarm
// if one that is avoided might serve them soon.
func (f *function) await(now time.Time, actions []Action) []Action {
	if f.queue.len == 0 {
		return actions
	}
	if len(f.replicas) == 0 && f.wakeable {
		return append(actions, Action{Kind: Wake, Function: f.name})
	}
	if now.Before(f.alarm) {
		return actions
	}
	var next time.Time
	for _, r := range f.avoided {
		if r.Ready && !r.gone && (next.IsZero() || r.avoidUntil.Before(next)) {
			next = r.avoidUntil
		}
	}
	if next.IsZero() {
		return actions
	}
	f.alarm = next
	return append(actions, Action{Kind: Alarm, Function: f.name, At: next})
}

// replicaHeap has the next replica to use on top. It implements heap.Interface.
type replicaHeap []*replica

func (h replicaHeap) top() *replica {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h replicaHeap) Len() int { return len(h) }

func (h replicaHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.inFlight != b.inFlight {
		return a.inFlight < b.inFlight
	}
	if a.lastUsed != b.lastUsed {
		return a.lastUsed < b.lastUsed
	}
	return a.ID < b.ID
}

func (h replicaHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *replicaHeap) Push(x any) {
	r := x.(*replica)
	r.place = len(*h)
	*h = append(*h, r)
}

// Pop implements heap.Interface.
func (h *replicaHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	r.place = -1
	return r
}

// requestQueue is a list of requests, first come first served, from which any
// can be taken out at once.
type requestQueue struct {
	first, last *request
	len         int
}

func (q *requestQueue) pushBack(r *request) {
	r.prev, r.next = q.last, nil
	if q.last == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
	q.len++
}

func (q *requestQueue) pushFront(r *request) {
	r.prev, r.next = nil, q.first
	if q.first == nil {
		q.last = r
	} else {
		q.first.prev = r
	}
	q.first = r
	q.len++
}

func (q *requestQueue) remove(r *request) {
	if r.prev == nil {
		q.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		q.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	q.len--
}

func (q *requestQueue) popFront() *request {
	r := q.first
	q.remove(r)
	return r
}
