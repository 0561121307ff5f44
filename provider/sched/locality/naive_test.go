package locality

import (
	"cmp"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// naive says the policies as plainly as can be: no index, no running sums,
// everything is searched for and counted again.
type naive struct {
	cfg       Config
	epoch     time.Time
	now       instant
	out       []sched.Action
	devices   []*naiveDevice
	functions map[string]*naiveFunction
	models    map[string]*naiveModel
	waiting   []*naiveRequest // in order of arrival, bound ones too
	serving   []*naiveRequest
	ways      map[string]*naiveWay
	lastSeq   uint64
	ticks     uint64
	binds     int
	avoided   []*naiveReplica
	lines     []*naiveLine // in the order in which they were first asked for
	failures  []naiveFailure
}

type naiveDevice struct {
	sched.Device
	held   []*naiveRequest
	since  uint64
	freeAt instant
	gone   bool
}

type naiveWay struct {
	freeAt   instant
	fetching int
}

type naiveModel struct {
	gone   bool // to be removed when no request has it
	bytes  int64
	prices map[string]sched.Price
	here   map[string]bool // by device
	coming map[string]bool
	staged map[string]bool // by node
}

type naiveReplica struct {
	sched.Replica
	serving  int
	avoid    instant
	gone     bool
	function *naiveFunction
}

type naiveFunction struct {
	name     string
	wakeable bool
	gone     bool
	policy   Policy
	replicas []*naiveReplica
	lines    []*naiveLine
}

// naiveLine remembers the devices that its requests may go to.
type naiveLine struct {
	f     *naiveFunction
	model string
	slo   time.Duration
	lane  string
}

type naiveRequest struct {
	id           sched.RequestID
	seq          uint64
	line         *naiveLine
	arrived, due instant
	late         bool
	passed       int
	bound, on    *naiveDevice
	boundAt      uint64 // order of binding
	replica      *naiveReplica
	attempts     int
	ready        instant
	takes        instant
	share        instant // of what those that come later wait for
}

func newNaive(cfg Config) *naive {
	cfg, err := cfg.withDefaults()
	if err != nil {
		panic(err)
	}
	return &naive{cfg: cfg, functions: map[string]*naiveFunction{}, models: map[string]*naiveModel{}, ways: map[string]*naiveWay{}}
}

func (n *naive) step(now time.Time, e sched.Event) []sched.Action {
	if n.epoch.IsZero() {
		n.epoch = now
	}
	n.now, n.out = max(n.now, now.Sub(n.epoch)), nil
	n.binds = 0
	n.forgive()
	n.tryAgain()
	switch e.Kind {
	case sched.Arrive:
		n.arrive(now, e)
	case sched.Done, sched.Cancel:
		n.leave(now, e)
	case sched.Computed:
		if r := n.find(n.serving, e.ID); r != nil {
			n.leaveDevice(r, true)
		}
	case sched.Returned:
		n.returned(now, e)
	case sched.Replicas:
		n.setReplicas(now, e)
	case sched.Removed:
		n.removed(now, e)
	case sched.Tick: // the alarms are the plain scheduler's
		n.plain(now, e)
	case sched.Devices:
		n.setDevices(e.Devices)
	case sched.Prices:
		n.setPrices(e)
	case sched.Resident, sched.Evicted:
		n.moved(e)
	case sched.Failed:
		n.failed(e)
	case sched.Staged, sched.Unstaged:
		if m := n.models[e.Model]; m != nil && slices.ContainsFunc(n.devices, func(d *naiveDevice) bool { return d.Node == e.Node }) {
			m.staged[e.Node] = e.Kind == sched.Staged
		}
	}
	n.removeUnused()
	n.schedule()
	return n.out
}

func (n *naive) plain(now time.Time, e sched.Event) { n.out = n.cfg.Plain.Step(now, e, n.out) }

func (n *naive) refuse(id sched.RequestID, f *naiveFunction, why sched.Reason) {
	n.out = append(n.out, sched.Action{Kind: sched.Refuse, ID: id, Function: f.name, Reason: why})
}

func (n *naive) arrive(now time.Time, e sched.Event) {
	f := n.functions[e.Request.Function]
	if f == nil || n.models[e.Request.Model] == nil || f.policy == sched.PolicyLeastInFlight {
		n.plain(now, e)
		return
	}
	l := n.line(f, e.Request.Model, roundSLO(e.Request.SLO))
	mine := 0
	for _, r := range n.waiting {
		if r.line.f == f {
			mine++
		}
	}
	switch {
	case !n.served(l) && f.ready():
		n.plain(now, e)
	case len(f.replicas) == 0 && !f.wakeable:
		n.refuse(e.Request.ID, f, sched.NoReplica)
	case mine >= n.cfg.QueueLimit:
		n.refuse(e.Request.ID, f, sched.QueueFull)
	case e.Request.OnTime && e.Request.SLO > 0 && n.estimate(l) > e.Request.SLO:
		n.refuse(e.Request.ID, f, sched.TooLate)
	default:
		n.lastSeq++
		r := &naiveRequest{id: e.Request.ID, seq: n.lastSeq, line: l, arrived: n.now, due: n.now + n.cfg.Patience}
		if l.slo > 0 {
			r.due = n.now + l.slo
		}
		n.enqueue(r)
		n.wake(f)
	}
}

func (n *naive) wake(f *naiveFunction) {
	if len(f.replicas) == 0 && f.wakeable && slices.ContainsFunc(n.waiting, func(r *naiveRequest) bool { return r.line.f == f }) {
		n.out = append(n.out, sched.Action{Kind: sched.Wake, Function: f.name})
	}
}

// enqueue: one that comes back counts as passed over as often as the next one.
func (n *naive) enqueue(r *naiveRequest) {
	r.passed, r.bound, r.on, r.replica, r.share = 0, nil, nil, nil, 0
	if r.line.slo > 0 {
		r.share = n.fastest(r.line.model)
	}
	n.waiting = append(n.waiting, r)
	slices.SortFunc(n.waiting, func(a, b *naiveRequest) int { return cmp.Compare(a.seq, b.seq) })
	for _, q := range n.waiting {
		if q.bound == nil && q.seq > r.seq && q.line.lane == r.line.lane {
			r.passed = q.passed
			return
		}
	}
}

func (n *naive) drop(r *naiveRequest) {
	n.waiting = slices.DeleteFunc(n.waiting, func(q *naiveRequest) bool { return q == r })
}

func (n *naive) find(list []*naiveRequest, id sched.RequestID) *naiveRequest {
	for _, r := range list {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (n *naive) leave(now time.Time, e sched.Event) {
	if r := n.find(n.waiting, e.ID); r != nil {
		n.drop(r)
	} else if r := n.find(n.serving, e.ID); r != nil {
		n.release(r, true)
	} else {
		n.plain(now, e)
	}
}

func (n *naive) release(r *naiveRequest, handled bool) {
	same := func(q *naiveRequest) bool { return q == r }
	n.serving = slices.DeleteFunc(n.serving, same)
	r.replica.serving--
	n.leaveDevice(r, handled)
	n.relane(r.line.f)
}

func (n *naive) leaveDevice(r *naiveRequest, handled bool) {
	same := func(q *naiveRequest) bool { return q == r }
	d, m := r.on, n.models[r.line.model]
	r.on = nil
	if d == nil || d.gone {
		return
	}
	d.held = slices.DeleteFunc(d.held, same)
	n.ticks++
	d.since = n.ticks
	if handled {
		n.arrived(m, d)
	} else if m.coming[d.ID] && !d.uses(r.line.model) {
		n.unset(m, d)
	}
	d.freeAt = n.now
	for _, h := range d.held {
		d.freeAt = max(d.freeAt, h.ready) + h.takes
	}
}

func (d *naiveDevice) uses(model string) bool {
	return slices.ContainsFunc(d.held, func(h *naiveRequest) bool { return h.line.model == model })
}

func (n *naive) returned(now time.Time, e sched.Event) {
	if n.find(n.waiting, e.ID) != nil {
		return
	}
	r := n.find(n.serving, e.ID)
	if r == nil {
		n.plain(now, e)
		return
	}
	f, unreached := r.line.f, r.replica
	n.release(r, false)
	if !unreached.gone && unreached.avoid == 0 {
		unreached.avoid = n.now + avoidFor
		n.avoided = append(n.avoided, unreached)
		n.out = append(n.out, sched.Action{Kind: sched.Alarm, Function: f.name, At: n.epoch.Add(unreached.avoid)})
		n.relane(f)
	}
	r.attempts++
	switch {
	case f.gone:
		n.refuse(r.id, f, sched.NoFunction)
	case r.attempts >= maxAttempts:
		n.refuse(r.id, f, sched.Unreachable)
	case len(f.replicas) == 0 && !f.wakeable:
		n.refuse(r.id, f, sched.NoReplica)
	default:
		n.enqueueOrPass([]*naiveRequest{r})
		n.wake(f)
	}
}
