// Package dispatch is the one writer around a scheduler: it feeds it what
// happens (requests that come and go, replicas that the runtime reports) and
// carries out what it decides (a request goes to a replica, is refused, or wakes
// a function).
//
// One mutex stands around the scheduler and the maps beside it; nothing waits
// while holding it. A request that finds a free replica costs two short critical
// sections and no channel.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/fleet"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Why a request gets no replica. A *TooLateError is another reason.
var (
	ErrUnknownFunction = errors.New("no such function")
	ErrQueueFull       = errors.New("every replica is busy and the queue is full")
	ErrNoReplica       = errors.New("scaled to zero, and a request may not wake it")
	ErrUnreachable     = errors.New("no replica could be reached")
	ErrTimeout         = errors.New("no replica was free in time")
	ErrFailing         = errors.New("its replicas fail before they are ready")
	ErrRetired         = errors.New("another dispatcher has taken over")
)

// Runtime is what a Dispatcher needs of a runtime.
type Runtime interface {
	runtime.Observer
	Scale(ctx context.Context, id runtime.ID, replicas int) error
}

// Config of a Dispatcher.
type Config struct {
	Runtime   Runtime
	Scheduler sched.Scheduler
	// Fleet is what nodes report, for a scheduler that chooses devices; nil: nobody
	// reports.
	Fleet *fleet.Fleet
	// Prefetch asks a node to bring a model to a device, and does not wait. It may
	// be nil.
	Prefetch func(address string, p api.PrefetchRequest)
	// Wait is how long a request may wait for a replica.
	Wait time.Duration
	// WakeFromZero lets a request start a function that is scaled to zero.
	WakeFromZero bool
	Log          *slog.Logger
}

// Dispatcher gives replicas to requests.
type Dispatcher struct {
	cfg Config

	// functions is the present set; it is replaced, never changed.
	functions atomic.Pointer[map[runtime.ID]*Function]
	// retired is closed once requests should no longer wait here.
	retired chan struct{}
	// following is held while a snapshot is followed. It comes before mu.
	following sync.Mutex
	followed  *runtime.Snapshot

	mu        sync.Mutex // guards what follows
	scheduler sched.Scheduler
	fleet     *fleet.Fleet
	lastID    sched.RequestID
	actions   []sched.Action // of the present Step
	waiting   map[sched.RequestID]chan outcome
	addresses map[string]string // host:port by replica
	waking    map[string]bool   // functions that are being woken; true: it was asked for again
	closed    bool
	wakes     sync.WaitGroup
	ctx       context.Context // of wakes
	cancel    context.CancelFunc
	stats     Stats
}

// Function is one that exists, as it was understood.
type Function struct {
	Spec    function.Spec
	Key     string // its name for the scheduler
	runtime *runtime.Function
	use     *use
	failing bool // no replica is to be expected soon
	// revisions are what nodes know it as, the present one first.
	revisions []api.FunctionRef
}

// Stats counts since the start; Waiting is now.
type Stats struct {
	Waiting int
	Retries uint64
	Wakes   uint64
}

// outcome is what happened to a request that waits.
type outcome struct {
	lease Lease
	err   error
}

// New makes a Dispatcher that knows the runtime's present state. Run keeps it up
// to date. Close ends it.
func New(cfg Config) *Dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	if cfg.Fleet == nil {
		cfg.Fleet = fleet.New(fleet.Config{})
	}
	if cfg.Prefetch == nil {
		cfg.Prefetch = func(string, api.PrefetchRequest) {}
	}
	d := &Dispatcher{
		cfg:       cfg,
		scheduler: cfg.Scheduler,
		fleet:     cfg.Fleet,
		waiting:   make(map[sched.RequestID]chan outcome),
		addresses: make(map[string]string),
		waking:    make(map[string]bool),
		retired:   make(chan struct{}),
		ctx:       ctx,
		cancel:    cancel,
	}
	d.functions.Store(&map[runtime.ID]*Function{})
	d.follow()
	return d
}

// Run follows the runtime until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
	for {
		select {
		case <-d.cfg.Runtime.Changed(d.follow()):
		case <-ctx.Done():
			return
		}
	}
}

// Close stops waking functions and waits for what is under way.
func (d *Dispatcher) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.wakes.Wait()
}

// Retire gives back all requests that wait for a replica, and those that would
// have to wait from now on: ErrRetired, nothing of them was sent. Leases go on. It
// is called once.
func (d *Dispatcher) Retire() { close(d.retired) }

// Lookup finds a function. It does not block.
func (d *Dispatcher) Lookup(id runtime.ID) (*Function, bool) {
	f, ok := (*d.functions.Load())[id]
	if !ok {
		// It may have been deployed a moment ago.
		if _, exists := d.cfg.Runtime.Snapshot().Functions[id]; exists {
			d.follow()
			f, ok = (*d.functions.Load())[id]
		}
	}
	return f, ok
}

// Explain says which replica and which device a request of f would get now, and
// why. The model is the file's digest there.
func (d *Dispatcher) Explain(f *Function, w Want) sched.Explanation {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.understood(f, w)
	e := d.scheduler.Explain(time.Now(), sched.Request{Function: f.Key, Model: r.model, SLO: r.slo})
	if f.failing {
		e.Why = d.explainError(f, ErrFailing).Error()
	}
	return e
}

// Stats counts what happened.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Waiting = len(d.waiting)
	return s
}

// step takes one event in and carries the actions out. What happens to request
// mine is returned; what happens to others goes to those who wait. mu is held.
func (d *Dispatcher) step(now time.Time, e sched.Event, mine sched.RequestID) (out outcome, settled bool) {
	d.actions = d.scheduler.Step(now, e, d.actions[:0])
	for _, a := range d.actions {
		var o outcome
		switch a.Kind {
		case sched.Wake:
			d.wake(a.Function)
			continue
		case sched.Alarm:
			d.alarm(a)
			continue
		case sched.Dispatch:
			o.lease = d.lease(now, a)
		case sched.Refuse:
			o.err = refusal(a)
		}
		if a.ID == mine {
			out, settled = o, true
		} else if result, waits := d.waiting[a.ID]; waits {
			delete(d.waiting, a.ID)
			result <- o
		}
	}
	return out, settled
}
