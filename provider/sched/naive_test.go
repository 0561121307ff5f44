package sched

import (
	"slices"
	"time"
)

// naive is LeastInFlight said as plainly as can be: no index, everything is
// searched for.
type naive struct {
	limit     int
	functions map[string]*naiveFunction
	requests  map[RequestID]*naiveRequest
	clock     uint64
}

type naiveFunction struct {
	wakeable bool
	replicas []*naiveReplica
	queue    []*naiveRequest
	alarm    time.Time
}

type naiveReplica struct {
	Replica
	serving    int
	lastUsed   uint64
	avoidUntil time.Time
}

type naiveRequest struct {
	id       RequestID
	name     string
	function *naiveFunction
	replica  *naiveReplica
	attempts int
}

func newNaive(limit int) *naive {
	return &naive{limit: limit, functions: map[string]*naiveFunction{}, requests: map[RequestID]*naiveRequest{}}
}

func (n *naive) step(now time.Time, e Event) (out []Action) {
	refuse := func(r *naiveRequest, why Reason) {
		delete(n.requests, r.id)
		out = append(out, Action{Kind: Refuse, ID: r.id, Reason: why})
	}
	drain := func(f *naiveFunction) {
		for len(f.queue) > 0 && n.best(now, f) != nil {
			r, to := f.queue[0], n.best(now, f)
			f.queue = f.queue[1:]
			n.clock++
			to.serving, to.lastUsed, r.replica = to.serving+1, n.clock, to
			out = append(out, Action{Kind: Dispatch, ID: r.id, Replica: to.ID})
		}
	}
	await := func(name string, f *naiveFunction) {
		if len(f.queue) == 0 {
			return
		}
		if len(f.replicas) == 0 && f.wakeable {
			out = append(out, Action{Kind: Wake, Function: name})
			return
		}
		var avoided []time.Time
		for _, r := range f.replicas {
			if r.Ready && now.Before(r.avoidUntil) {
				avoided = append(avoided, r.avoidUntil)
			}
		}
		if len(avoided) == 0 || now.Before(f.alarm) {
			return
		}
		f.alarm = slices.MinFunc(avoided, time.Time.Compare)
		out = append(out, Action{Kind: Alarm, Function: name, At: f.alarm})
	}
	switch e.Kind {
	case Tick:
		if f := n.functions[e.Function]; f != nil {
			drain(f)
			await(e.Function, f)
		}
	case Arrive:
		f := n.functions[e.Request.Function]
		r := &naiveRequest{id: e.Request.ID, name: e.Request.Function, function: f}
		if f == nil {
			refuse(r, NoFunction)
			return out
		}
		drain(f)
		switch n.requests[r.id] = r; {
		case n.best(now, f) != nil:
			f.queue = append(f.queue, r)
			drain(f)
		case len(f.replicas) == 0 && !f.wakeable:
			refuse(r, NoReplica)
		case len(f.queue) >= n.limit:
			refuse(r, QueueFull)
		default:
			f.queue = append(f.queue, r)
			await(r.name, f)
		}
	case Done, Cancel:
		r := n.requests[e.ID]
		if r == nil {
			return out
		}
		delete(n.requests, e.ID)
		if r.replica != nil {
			r.replica.serving--
		}
		r.function.queue = slices.DeleteFunc(r.function.queue, func(q *naiveRequest) bool { return q == r })
		drain(r.function)
	case Returned:
		r := n.requests[e.ID]
		if r == nil || r.replica == nil {
			return out
		}
		r.replica.serving--
		r.replica.avoidUntil = now.Add(avoidFor)
		r.replica, r.attempts = nil, r.attempts+1
		f := r.function
		switch {
		case n.functions[r.name] != f:
			refuse(r, NoFunction)
		case r.attempts >= maxAttempts:
			refuse(r, Unreachable)
		case len(f.replicas) == 0 && !f.wakeable:
			refuse(r, NoReplica)
		default:
			f.queue = append([]*naiveRequest{r}, f.queue...)
		}
		drain(f)
		await(r.name, f)
	case Replicas:
		f := n.functions[e.Function]
		if f == nil {
			f = &naiveFunction{}
			n.functions[e.Function] = f
		}
		f.wakeable = e.Wakeable
		f.replicas = n.update(f.replicas, e.Replicas)
		drain(f)
		await(e.Function, f)
		if len(f.replicas) == 0 && !f.wakeable {
			for _, r := range f.queue {
				refuse(r, NoReplica)
			}
			f.queue = nil
		}
	case Removed:
		f := n.functions[e.Function]
		if f == nil {
			return out
		}
		delete(n.functions, e.Function)
		for _, r := range f.queue {
			refuse(r, NoFunction)
		}
		f.queue, f.replicas = nil, nil
	}
	return out
}

func (n *naive) update(old []*naiveReplica, now []Replica) (out []*naiveReplica) {
	for _, want := range now {
		r := &naiveReplica{}
		for _, o := range old {
			if o.ID == want.ID {
				r = o
			}
		}
		if want.Ready && !r.Ready {
			r.avoidUntil = time.Time{}
		}
		r.Replica = want
		out = append(out, r)
	}
	return out
}

// best is the first of all ready replicas with room in the order of preference.
func (n *naive) best(now time.Time, f *naiveFunction) (best *naiveReplica) {
	for _, r := range f.replicas {
		if !r.Ready || r.Capacity > 0 && r.serving >= r.Capacity || now.Before(r.avoidUntil) {
			continue
		}
		if best == nil || r.serving < best.serving ||
			r.serving == best.serving && (r.lastUsed < best.lastUsed || r.lastUsed == best.lastUsed && r.ID < best.ID) {
			best = r
		}
	}
	return best
}
