package locality

import (
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Scheduler gives requests to devices by one of the policies. It is not safe for
// concurrent use.
type Scheduler struct {
	cfg    Config
	policy policy
	byDue  bool // lines are ranked by due, not by arrival

	epoch   time.Time // the first event
	now     instant   // of the present event
	actions []sched.Action

	devices   []*device
	byID      map[string]*device
	room      [][]*device // those that hold n requests and may get one, longest first
	order     []*device   // scratch of schedule
	nodes     map[string]*node
	ways      map[string]*way
	classes   map[string]int
	models    map[string]*model
	functions map[string]*function
	lanes     map[string]*lane
	avoided   []avoidance

	requests table
	unused   []*request
	waiting  int       // requests in lanes
	boundTo  int       // requests bound to devices
	binders  []*device // that requests are bound to
	binds    int       // in the present event
	seq      uint64    // of the last arrival
	ticks    uint64    // clock of device.since
}

// avoidance of a replica that could not be reached.
type avoidance struct {
	function *function
	replica  *replica
}

// policy is the part that differs.
type policy interface {
	// serve gives d, which has room, a request, or binds one to another device.
	// It reports whether it did either.
	serve(s *Scheduler, d *device) bool
	// choose says which device a request of the lane for m would go to now, and
	// why; nil if none has room.
	choose(s *Scheduler, l *line) (*device, string)
}

// New returns a scheduler that knows no devices and functions yet.
func New(cfg Config) (*Scheduler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Scheduler{
		cfg:       cfg,
		room:      make([][]*device, cfg.Credits),
		nodes:     map[string]*node{},
		ways:      map[string]*way{},
		classes:   map[string]int{},
		models:    map[string]*model{},
		functions: map[string]*function{},
		lanes:     map[string]*lane{},
	}
	switch cfg.Policy {
	case LB:
		s.policy = lb{}
	case LALB, LALBO3:
		s.policy = lalb{}
	case Swap:
		s.policy, s.byDue = swap{}, true
	}
	return s, nil
}

var _ sched.Scheduler = (*Scheduler)(nil)

// Step implements sched.Scheduler. Events about what it does not know change
// nothing.
func (s *Scheduler) Step(now time.Time, e sched.Event, actions []sched.Action) []sched.Action {
	s.tick(now)
	s.actions, s.binds = actions, 0
	s.forgive(now)
	switch e.Kind {
	case sched.Arrive:
		s.arrive(now, e)
	case sched.Done, sched.Cancel:
		s.leave(now, e)
	case sched.Returned:
		s.returned(now, e)
	case sched.Replicas:
		s.setReplicas(now, e)
	case sched.Removed:
		s.removeFunction(now, e)
	case sched.Tick: // the alarms are the plain scheduler's
		s.plain(now, e)
	case sched.Devices:
		s.setDevices(now, e.Devices)
	case sched.Prices:
		s.setPrices(now, e)
	case sched.Resident, sched.Evicted:
		s.moved(e)
	case sched.Staged, sched.Unstaged:
		s.setStaged(e)
	}
	s.schedule()
	actions, s.actions = s.actions, nil
	return actions
}

// tick takes the time over; it never goes back.
func (s *Scheduler) tick(now time.Time) {
	if s.epoch.IsZero() {
		s.epoch = now
	}
	s.now = max(s.now, now.Sub(s.epoch))
}

// plain hands the event to the scheduler for requests without a device.
func (s *Scheduler) plain(now time.Time, e sched.Event) {
	s.actions = s.cfg.Plain.Step(now, e, s.actions)
}

func (s *Scheduler) arrive(now time.Time, e sched.Event) {
	f, m := s.functions[e.Request.Function], s.models[e.Request.Model]
	if f == nil || m == nil || e.Request.Model == "" {
		s.plain(now, e)
		return
	}
	f.last = m
	l := s.line(f, m, roundSLO(e.Request.SLO))
	switch {
	case len(l.lane.devices) == 0 && f.ready():
		s.plain(now, e)
	case len(f.replicas) == 0 && !f.wakeable:
		s.refuseID(e.Request.ID, f, sched.NoReplica)
	case f.waiting >= s.cfg.QueueLimit:
		s.refuseID(e.Request.ID, f, sched.QueueFull)
	default:
		s.enqueue(s.admit(e.Request.ID, l))
		s.wake(f)
	}
}

// leave ends a request, served or not.
func (s *Scheduler) leave(now time.Time, e sched.Event) {
	r := s.requests.find(e.ID)
	if r == nil {
		s.plain(now, e)
		return
	}
	if r.stage == held {
		s.release(r, true)
	} else {
		s.withdraw(r)
	}
	s.forget(r)
}

// returned finds another replica for a request that could not reach its own.
func (s *Scheduler) returned(now time.Time, e sched.Event) {
	r := s.requests.find(e.ID)
	if r == nil {
		s.plain(now, e)
		return
	}
	if r.stage != held {
		return
	}
	f := r.line.function
	unreached := r.replica
	s.release(r, false)
	s.avoid(now, f, unreached)
	r.attempts++
	switch {
	case f.gone:
		s.refuse(r, sched.NoFunction)
	case r.attempts > len(f.replicas) || !f.healthy():
		s.refuse(r, sched.Unreachable)
	default:
		s.enqueue(r)
	}
}

func (s *Scheduler) admit(id sched.RequestID, l *line) *request {
	var r *request
	if n := len(s.unused); n > 0 {
		r, s.unused = s.unused[n-1], s.unused[:n-1]
	} else {
		r = new(request)
	}
	s.seq++
	*r = request{id: id, seq: s.seq, line: l, arrived: s.now, due: s.now + s.cfg.Patience}
	if l.slo > 0 {
		r.due = s.now + l.slo
	}
	s.requests.put(r)
	l.model.users++
	return r
}

func (s *Scheduler) forget(r *request) {
	s.requests.remove(r.id)
	r.line.model.users--
	*r = request{}
	s.unused = append(s.unused, r)
}

func (s *Scheduler) refuse(r *request, why sched.Reason) {
	s.refuseID(r.id, r.line.function, why)
	s.forget(r)
}

func (s *Scheduler) refuseID(id sched.RequestID, f *function, why sched.Reason) {
	s.actions = append(s.actions, sched.Action{Kind: sched.Refuse, ID: id, Function: f.name, Reason: why})
}

// wake asks for a replica if requests wait and there is none.
func (s *Scheduler) wake(f *function) {
	if f.waiting > 0 && len(f.replicas) == 0 && f.wakeable {
		s.actions = append(s.actions, sched.Action{Kind: sched.Wake, Function: f.name})
	}
}

// roundSLO keeps the highest 4 bits: an SLO may come from outside with every
// request, and there is a line for each.
func roundSLO(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	shift := 0
	for d>>shift > 15 {
		shift++
	}
	return d >> shift << shift
}
