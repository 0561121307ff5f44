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
	failures  []failure

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

// policy is the part that differs. Which request a device with room takes next is
// up to the scheduler's policy; where that request then goes, to its function's.
type policy interface {
	// serve gives d, which has room, a request, or binds one to another device.
	// It reports whether it did either.
	serve(s *Scheduler, d *device) bool
	// place gives r, which d may serve, to d or to another device, or binds it to
	// one. It reports whether it did.
	place(s *Scheduler, r *request, d *device) bool
	// choose says which device a request of l would go to now, and why; nil if
	// none has room.
	choose(s *Scheduler, l *line) (*device, string)
}

// policyNamed is one of Policies, or nil.
func policyNamed(p Policy) policy {
	switch p {
	case LB:
		return lb{}
	case LALB, LALBO3:
		return lalb{}
	case Swap:
		return swap{}
	}
	return nil
}

// New returns a scheduler that knows no devices and functions yet.
func New(cfg Config) (*Scheduler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Scheduler{
		cfg:       cfg,
		policy:    policyNamed(cfg.Policy),
		byDue:     cfg.Policy == Swap,
		nodes:     map[string]*node{},
		ways:      map[string]*way{},
		classes:   map[string]int{},
		models:    map[string]*model{},
		functions: map[string]*function{},
		lanes:     map[string]*lane{},
	}, nil
}

var _ sched.Scheduler = (*Scheduler)(nil)

// Step implements sched.Scheduler. Events about what it does not know change
// nothing.
func (s *Scheduler) Step(now time.Time, e sched.Event, actions []sched.Action) []sched.Action {
	s.tick(now)
	s.actions, s.binds = actions, 0
	s.forgive()
	s.tryAgain()
	switch e.Kind {
	case sched.Arrive:
		s.arrive(now, e)
	case sched.Done, sched.Cancel:
		s.leave(now, e)
	case sched.Computed:
		if r := s.requests.find(e.ID); r != nil && r.stage == held {
			s.leaveDevice(r, true)
		}
	case sched.Returned:
		s.returned(now, e)
	case sched.Replicas:
		s.setReplicas(now, e)
	case sched.Removed:
		s.removeFunction(now, e)
	case sched.Tick: // see forgive and tryAgain; the plain scheduler has alarms, too
		s.plain(now, e)
	case sched.Devices:
		s.setDevices(e.Devices)
	case sched.Prices:
		s.setPrices(e)
	case sched.Resident, sched.Evicted:
		s.moved(e)
	case sched.Failed:
		s.failed(e)
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

// wall is the time of the present event for others.
func (s *Scheduler) wall() time.Time { return s.epoch.Add(s.now) }

// plain hands the event to the scheduler for requests without a device.
func (s *Scheduler) plain(now time.Time, e sched.Event) {
	s.actions = s.cfg.Plain.Step(now, e, s.actions)
}

func (s *Scheduler) arrive(now time.Time, e sched.Event) {
	f, m := s.functions[e.Request.Function], s.models[e.Request.Model]
	if f == nil || f.place == nil || m == nil || e.Request.Model == "" {
		s.plain(now, e)
		return
	}
	l := s.line(f, m, roundSLO(e.Request.SLO))
	switch {
	case f.ready() && !s.served(l):
		s.plain(now, e)
	case len(f.replicas) == 0 && !f.wakeable:
		s.refuseID(e.Request.ID, f, sched.NoReplica)
	case f.waiting >= s.cfg.QueueLimit:
		s.refuseID(e.Request.ID, f, sched.QueueFull)
	case e.Request.OnTime && s.soonest(l) > e.Request.SLO && e.Request.SLO > 0:
		s.refuseID(e.Request.ID, f, sched.TooLate)
		s.actions[len(s.actions)-1].After = s.soonest(l) - e.Request.SLO
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
	s.avoid(f, unreached)
	r.attempts++
	switch {
	case f.gone:
		s.refuse(r, sched.NoFunction)
	case r.attempts >= maxAttempts:
		s.refuse(r, sched.Unreachable)
	case len(f.replicas) == 0 && !f.wakeable:
		s.refuse(r, sched.NoReplica)
	default:
		s.enqueueOrPass(r)
		s.wake(f)
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
	m := r.line.model
	s.requests.remove(r.id)
	*r = request{}
	s.unused = append(s.unused, r)
	m.users--
	if m.gone && m.users == 0 {
		s.removeModel(m)
	}
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
