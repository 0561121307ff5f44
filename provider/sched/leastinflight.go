package sched

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A replica that could not be reached is not chosen for avoidFor: its runtime
// usually notices within that time that it is gone. A request that found
// maxAttempts replicas unreachable, one after the other, is refused.
const (
	avoidFor    = 100 * time.Millisecond
	maxAttempts = 10
)

// PolicyLeastInFlight is the name of LeastInFlight as a policy.
const PolicyLeastInFlight = "least-in-flight"

// LeastInFlight sends a request to the ready replica that serves the fewest
// requests now; among equals to the one that was given one the longest ago.
// Requests that find no free replica wait, per function, first come first served;
// so does one whose replica could not be reached, before all others.
type LeastInFlight struct {
	queueLimit int
	functions  map[string]*function
	requests   map[RequestID]*request
	unused     []*request // forgotten requests, used again
	dispatched uint64     // counts dispatches, the clock of replica.lastUsed
}

// function is what is known of one function.
type function struct {
	name     string
	wakeable bool
	replicas map[string]*replica
	free     replicaHeap // ready replicas with room, the next one to use on top
	avoided  []*replica  // those that could not be reached of late
	alarm    time.Time   // the last one asked for
	queue    requestQueue
}

// replica is one Replica and what it is doing.
type replica struct {
	Replica
	inFlight   int
	lastUsed   uint64    // LeastInFlight.dispatched when it was last chosen
	avoidUntil time.Time // zero if it is not avoided
	place      int       // in function.free, -1 if it is not in there
	gone       bool      // no longer one of its function's
}

// request is one request that waits or is being served.
type request struct {
	id         RequestID
	function   *function
	replica    *replica // nil while it waits
	attempts   int      // replicas that could not be reached
	next, prev *request // in function.queue
}

// NewLeastInFlight makes a scheduler that lets at most queueLimit requests wait
// for each function.
func NewLeastInFlight(queueLimit int) *LeastInFlight {
	return &LeastInFlight{
		queueLimit: queueLimit,
		functions:  make(map[string]*function),
		requests:   make(map[RequestID]*request),
	}
}

var _ Scheduler = (*LeastInFlight)(nil)

// Step implements Scheduler. Events about requests and functions that it does
// not know change nothing.
func (s *LeastInFlight) Step(now time.Time, e Event, actions []Action) []Action {
	switch e.Kind {
	case Arrive:
		return s.arrive(now, e.Request, actions)
	case Done, Cancel:
		return s.leave(now, e.ID, actions)
	case Returned:
		return s.returned(now, e.ID, actions)
	case Replicas:
		return s.setReplicas(now, e, actions)
	case Removed:
		return s.remove(e.Function, actions)
	case Tick:
		return s.tick(now, e.Function, actions)
	}
	return actions
}

func (s *LeastInFlight) arrive(now time.Time, r Request, actions []Action) []Action {
	f := s.functions[r.Function]
	if f == nil {
		return append(actions, Action{Kind: Refuse, ID: r.ID, Function: r.Function, Reason: NoFunction})
	}
	f.forgive(now)
	actions = s.drain(f, actions)
	if best := f.best(); best != nil {
		return append(actions, s.dispatch(s.admit(r.ID, f), best))
	}
	if len(f.replicas) == 0 && !f.wakeable {
		return append(actions, Action{Kind: Refuse, ID: r.ID, Function: f.name, Reason: NoReplica})
	}
	if f.queue.len >= s.queueLimit {
		return append(actions, Action{Kind: Refuse, ID: r.ID, Function: f.name, Reason: QueueFull})
	}
	f.queue.pushBack(s.admit(r.ID, f))
	return f.await(now, actions)
}

// leave ends a request, served or not, and gives its place to the next one.
func (s *LeastInFlight) leave(now time.Time, id RequestID, actions []Action) []Action {
	r := s.requests[id]
	if r == nil {
		return actions
	}
	f, served := r.function, r.replica
	if served == nil {
		f.queue.remove(r)
	} else {
		f.release(served)
	}
	s.forget(r)
	f.forgive(now)
	return s.drain(f, actions)
}

// returned finds another replica for a request that could not reach its own.
func (s *LeastInFlight) returned(now time.Time, id RequestID, actions []Action) []Action {
	r := s.requests[id]
	if r == nil || r.replica == nil {
		return actions
	}
	f := r.function
	f.forgive(now)
	f.release(r.replica)
	f.avoid(r.replica, now.Add(avoidFor))
	r.replica = nil
	r.attempts++

	switch {
	case s.functions[f.name] != f:
		actions = s.refuse(r, NoFunction, actions)
	case r.attempts >= maxAttempts:
		actions = s.refuse(r, Unreachable, actions)
	case len(f.replicas) == 0 && !f.wakeable:
		actions = s.refuse(r, NoReplica, actions)
	default:
		f.queue.pushFront(r) // it has waited longer than all others
	}
	return f.await(now, s.drain(f, actions))
}

// tick tries the replicas again whose time of being avoided is over.
func (s *LeastInFlight) tick(now time.Time, name string, actions []Action) []Action {
	f := s.functions[name]
	if f == nil {
		return actions
	}
	f.forgive(now)
	return f.await(now, s.drain(f, actions))
}

func (s *LeastInFlight) setReplicas(now time.Time, e Event, actions []Action) []Action {
	f := s.functions[e.Function]
	if f == nil {
		f = &function{name: e.Function, replicas: make(map[string]*replica)}
		s.functions[e.Function] = f
	}
	f.wakeable = e.Wakeable
	f.forgive(now)
	for _, known := range f.replicas {
		known.gone = true
	}
	for _, want := range e.Replicas {
		f.put(want)
	}
	for id, known := range f.replicas {
		if known.gone {
			delete(f.replicas, id)
			f.place(known)
		}
	}
	actions = s.drain(f, actions)
	if len(f.replicas) == 0 && !f.wakeable {
		return s.refuseAll(f, NoReplica, actions)
	}
	return f.await(now, actions)
}

func (s *LeastInFlight) remove(name string, actions []Action) []Action {
	f := s.functions[name]
	if f == nil {
		return actions
	}
	delete(s.functions, name)
	f.avoided = nil
	for _, r := range f.replicas {
		r.gone = true
		f.place(r)
	}
	clear(f.replicas)
	return s.refuseAll(f, NoFunction, actions)
}

// drain sends waiting requests to free replicas.
func (s *LeastInFlight) drain(f *function, actions []Action) []Action {
	for f.queue.len > 0 {
		best := f.best()
		if best == nil {
			return actions
		}
		actions = append(actions, s.dispatch(f.queue.popFront(), best))
	}
	return actions
}

func (s *LeastInFlight) dispatch(r *request, to *replica) Action {
	s.dispatched++
	r.replica = to
	to.inFlight++
	to.lastUsed = s.dispatched
	r.function.place(to)
	return Action{Kind: Dispatch, ID: r.id, Function: r.function.name, Replica: to.ID}
}

func (s *LeastInFlight) admit(id RequestID, f *function) *request {
	var r *request
	if n := len(s.unused); n > 0 {
		r, s.unused = s.unused[n-1], s.unused[:n-1]
	} else {
		r = new(request)
	}
	r.id, r.function = id, f
	s.requests[id] = r
	return r
}

func (s *LeastInFlight) forget(r *request) {
	delete(s.requests, r.id)
	*r = request{}
	s.unused = append(s.unused, r)
}

func (s *LeastInFlight) refuse(r *request, why Reason, actions []Action) []Action {
	actions = append(actions, Action{Kind: Refuse, ID: r.id, Function: r.function.name, Reason: why})
	s.forget(r)
	return actions
}

func (s *LeastInFlight) refuseAll(f *function, why Reason, actions []Action) []Action {
	for f.queue.len > 0 {
		actions = s.refuse(f.queue.popFront(), why, actions)
	}
	return actions
}

// Explain implements Scheduler.
func (s *LeastInFlight) Explain(now time.Time, r Request) Explanation {
	out := Explanation{Function: r.Function, Model: r.Model, Policy: PolicyLeastInFlight, Replicas: []Candidate{}}
	f := s.functions[r.Function]
	if f == nil {
		out.Why = "no such function"
		return out
	}
	f.forgive(now)
	out.Queued = f.queue.len
	for _, r := range f.replicas {
		out.Replicas = append(out.Replicas, Candidate{
			Replica: r.ID, Node: r.Node, Ready: r.Ready,
			InFlight: r.inFlight, Capacity: r.Capacity, Why: r.state(),
		})
	}
	slices.SortFunc(out.Replicas, func(a, b Candidate) int { return cmp.Compare(a.Replica, b.Replica) })
	if best := f.best(); best != nil {
		out.Chosen = best.ID
		out.Why = fmt.Sprintf("it is free and serves the fewest requests (%d); among equals it was used the longest ago", best.inFlight)
		return out
	}
	out.Why = fmt.Sprintf("none of %d replicas is free: a request would wait behind %d others", len(f.replicas), f.queue.len)
	if len(f.replicas) == 0 && f.wakeable {
		out.Why = "it has no replica: a request would wait for one, and start it if none is on its way"
	} else if len(f.replicas) == 0 {
		out.Why = "scaled to zero, and requests may not wake it"
	}
	return out
}
