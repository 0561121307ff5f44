package sched

import "time"

// Scheduler is a deterministic state machine.
type Scheduler interface {
	// Step takes one event in and appends what to do now to actions.
	Step(now time.Time, e Event, actions []Action) []Action
	// Explain says in words, for every replica of r's function, what sending r
	// there now would cost, and which one would be chosen and why. It needs
	// Function, Model and SLO.
	Explain(now time.Time, r Request) Explanation
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
	// Tick: the time of an Alarm of Function has come.
	Tick

	// The kinds that follow tell of devices and models. LeastInFlight knows
	// neither and takes no notice of them.

	// Computed: the device of the request ID is done with it, or is not to wait for
	// it any longer. Its replica is not, until Done: the answer is on its way.
	Computed
	// Devices: these, and no others, exist.
	Devices
	// Prices: Model has so many Bytes and costs these Prices. Bytes 0: it is gone,
	// and forgotten as soon as no request has it.
	Prices
	// Resident: Model is in the memory of Device.
	Resident
	// Evicted: it is not, or no longer.
	Evicted
	// Failed: Model could not be brought to Device, and that is not tried again
	// before At. A zero At takes it back.
	Failed
	// Staged: Model is in the host memory of Node.
	Staged
	// Unstaged: it is not, or no longer.
	Unstaged
)

// Event is one thing that happened.
type Event struct {
	Kind     EventKind
	ID       RequestID
	Request  Request   // Arrive
	Function string    // Replicas, Removed
	Replicas []Replica // Replicas; not kept
	Wakeable bool      // Replicas: the function may be started by a request
	Policy   string    // Replicas: where requests of Function go, "" for as the others

	Devices []Device  // Devices; not kept
	Device  string    // Resident, Evicted, Failed
	Node    string    // Staged, Unstaged
	Model   string    // Prices and what follows it
	Bytes   int64     // Prices: what the model takes of a device
	Prices  []Price   // Prices, one per class of device that can run it; not kept
	At      time.Time // Failed
}

// Device as the scheduler sees it.
type Device struct {
	ID     string
	Node   string
	Budget int64  // bytes of models that it can hold
	Class  string // devices of a class have the same prices
	Link   string // devices with the same one share the way from host memory
	Slots  int    // requests that it computes at once, 0 for 1
	// Credits is how many requests it may be given at a time, 0 for what the
	// scheduler takes by default.
	Credits int
}

// Price is what a model costs on a class of devices, as it was measured with
// nothing else going on.
type Price struct {
	Class   string
	Load    time.Duration // from disk into host memory
	Swap    time.Duration // from host memory into the device
	Compute time.Duration // one request, once it is there
	// Estimated: one of them was not measured for this model.
	Estimated bool
}

// RequestID is chosen by the caller and is never used twice.
type RequestID uint64

// Request is what the scheduler knows of an invocation.
type Request struct {
	ID       RequestID
	Function string // "name.namespace"
	Model    string // "" for functions without models
	Deadline time.Time
	// SLO is how soon after now the answer should be there; 0 for no SLO.
	SLO time.Duration
	// OnTime: it is to be refused if the SLO cannot be met.
	OnTime bool
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
	// Alarm: something may be done for Function at the time At; a Tick should
	// follow then.
	Alarm
)

// Action is one thing to do.
type Action struct {
	Kind     ActionKind
	ID       RequestID
	Replica  string
	Device   string
	Function string
	Reason   Reason
	At       time.Time     // Alarm
	Model    string        // Dispatch to a device: what it has to fetch, "" if it has it
	After    time.Duration // Refuse with TooLate: when it may be worth to try again
}

// Reason of a Refuse.
type Reason uint8

const (
	QueueFull   Reason = iota + 1 // too many requests wait
	NoReplica                     // scaled to zero, and a request may not wake it
	NoFunction                    // no Replicas event has named it, or it is gone
	Unreachable                   // no replica that is left could be reached
	TooLate                       // its SLO cannot be met
)

// Explanation of a choice, for people and as JSON.
type Explanation struct {
	Function string      `json:"function"`
	Policy   string      `json:"policy"`
	Chosen   string      `json:"chosen,omitempty"` // a replica
	Why      string      `json:"why"`
	Model    string      `json:"model,omitempty"`
	Device   string      `json:"device,omitempty"` // chosen
	Queued   int         `json:"queued"`
	Replicas []Candidate `json:"replicas"`
	// Devices are set by policies that choose one.
	Devices []DeviceCost `json:"devices,omitempty"`
}

// DeviceCost is what a request would cost on one device, in an Explanation.
// Durations are in milliseconds.
type DeviceCost struct {
	Device  string  `json:"device"`
	Node    string  `json:"node"`
	Place   string  `json:"place"`      // of the model: "resident", "coming", "staged" or "disk"
	Wait    float64 `json:"wait_ms"`    // until what was given to it before is done
	Fetch   float64 `json:"fetch_ms"`   // until the model is there
	Compute float64 `json:"compute_ms"` // once both are over
	Toll    float64 `json:"toll_ms"`    // what fetching takes from the requests that wait
	Total   float64 `json:"total_ms"`
	// Estimated: what the model costs here was guessed, not measured.
	Estimated bool   `json:"estimated,omitempty"`
	Why       string `json:"why"`
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
