package sched

import "time"

// Scheduler is a deterministic state machine.
type Scheduler interface {
	// Step takes one event in and appends what to do now to actions.
	Step(now time.Time, e Event, actions []Action) []Action
	// Explain says in words, for every replica of the function, what sending it
	// a request now would cost, and which one would be chosen and why.
	Explain(now time.Time, function string) Explanation
}

// EventKind tells which fields of an Event are set.
type EventKind uint8

const (
	// Arrive: Request wants to be served.
	Arrive EventKind = iota + 1
	// Done: the request ID has been answered by its replica, or has failed there.
	Done
	// Cancel: whoever sent the request ID has gone, or has waited too long.
	Cancel
	// Returned: the replica could not be reached and nothing of the request ID
	// was handled; it wants another one.
	Returned
	// Replicas: these, and no others, are the replicas of Function.
	Replicas
	// Removed: Function is gone.
	Removed
)

// Event is one thing that happened.
type Event struct {
	Kind     EventKind
	ID       RequestID
	Request  Request   // Arrive
	Function string    // Replicas, Removed
	Replicas []Replica // Replicas; not kept
	Wakeable bool      // Replicas: the function may be started by a request
}

// RequestID is chosen by the caller and is never used twice.
type RequestID uint64

// Request is what the scheduler knows of an invocation.
type Request struct {
	ID       RequestID
	Function string // "name.namespace"
	Model    string // "" for functions without models
	Deadline time.Time
}

// Replica as the scheduler sees it.
type Replica struct {
	ID       string
	Node     string
	Ready    bool
	Capacity int // requests at a time, 0 for no limit
}

// ActionKind tells what to do.
type ActionKind uint8

const (
	// Dispatch: send the request ID to Replica, with Device as the hint.
	Dispatch ActionKind = iota + 1
	// Refuse: answer the request ID with Reason.
	Refuse
	// Wake: Function has a request waiting and no replica.
	Wake
)

// Action is one thing to do.
type Action struct {
	Kind     ActionKind
	ID       RequestID
	Replica  string
	Device   string
	Function string
	Reason   Reason
}

// Reason of a Refuse.
type Reason uint8

const (
	QueueFull   Reason = iota + 1 // too many requests wait
	NoReplica                     // scaled to zero, and a request may not wake it
	NoFunction                    // no Replicas event has named it, or it is gone
	Unreachable                   // no replica that is left could be reached
)

// Explanation of a choice, for people and as JSON.
type Explanation struct {
	Function string      `json:"function"`
	Policy   string      `json:"policy"`
	Chosen   string      `json:"chosen,omitempty"` // a replica
	Why      string      `json:"why"`
	Queued   int         `json:"queued"`
	Replicas []Candidate `json:"replicas"`
}

// Candidate is one replica in an Explanation.
type Candidate struct {
	Replica  string `json:"replica"`
	Node     string `json:"node"`
	Ready    bool   `json:"ready"`
	InFlight int    `json:"in_flight"`
	Capacity int    `json:"capacity,omitempty"`
	Why      string `json:"why"`
}
