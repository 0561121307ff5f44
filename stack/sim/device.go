package sim

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// slot is a model on a device, or on its way there.
type slot struct {
	model   *model
	coming  bool // waits for its copy, or is being copied
	ready   bool // a request can be computed, or at least begin
	whole   bool // all of it has come
	sources int  // copies to other devices that are made from here
	wholly  func()
}

// device computes one job at a time and holds others. Which of those that have
// their model computes next, and for which of the others a model is brought next,
// is said by the queues of the cache manager.
type device struct {
	sim      *simulation
	node     *node
	id       string
	class    string
	linkName string
	link     *link
	budget   int64
	used     int64
	order    policy.Order // of the slots that are ready
	slots    map[int]*slot
	held     []*job // in the order in which they came
	current  *job

	loads, turns *queue.Queue
	groups       map[int]*groups // of models
	transfers    int             // models on their way here
	copies       []func()        // that wait for the one before them
	copying      bool

	busySince time.Duration
	computed  time.Duration // time that it computed
	busy      time.Duration // time that it held a job
}

// groups of the jobs of one model on one device: those that want it here, and those
// that wait for their turn to compute.
type groups struct{ want, turn queue.Group }

const (
	// transfersAtOnce is how many models are on their way to a device at once, so
	// that the link has the next copy when one ends; the cache manager's default.
	transfersAtOnce = 2
	// passes is how often a job may be passed over by later ones there.
	passes = 256
)

func (d *device) groupsOf(m *model) *groups {
	g := d.groups[m.index]
	if g == nil {
		g = &groups{queue.NewGroup(m), queue.NewGroup(m)}
		d.groups[m.index] = g
	}
	return g
}

// take accepts a job.
func (d *device) take(j *job) {
	j.device = d
	if len(d.held) == 0 {
		d.busySince = d.sim.now
	}
	d.held = append(d.held, j)
	j.Arrived, j.Function = d.sim.now, d.node.book.Function(d.sim.now, j.model.function)
	if j.model.SLOms > 0 {
		j.Deadline = j.sent + millis(j.model.SLOms)
	}
	s, c := d.slots[j.model.index], j.model.cost(d.class)
	switch {
	case s == nil:
		d.sim.result.miss(j)
	case s.ready:
		d.order.Touch(j.model.name)
		d.queueUp(j)
		d.advance()
		return
	}
	g := d.groupsOf(j.model)
	j.Work = millis(c.Swap) + millis(c.Compute)
	d.loads.Push(d.sim.now, &g.want, &j.Request)
	d.loads.SetOpen(&g.want, s == nil)
	d.advance()
}

// queueUp lets a job whose model is there wait for its turn.
func (d *device) queueUp(j *job) {
	g := d.groupsOf(j.model)
	j.Work = millis(j.model.cost(d.class).Compute)
	d.turns.Push(d.sim.now, &g.turn, &j.Request)
	d.turns.SetOpen(&g.turn, true)
}

// advance starts whatever can start now.
func (d *device) advance() {
	for d.transfers < transfersAtOnce {
		g, _ := d.loads.Peek(d.sim.now, false)
		if g == nil || !d.fetch(g.Owner.(*model)) {
			break // a held job has to end first
		}
	}
	if d.current != nil {
		return
	}
	if r := d.turns.Next(d.sim.now); r != nil {
		d.compute(r.Owner.(*job))
	}
}

// fetch begins to bring m here, if it can get the bytes.
func (d *device) fetch(m *model) bool {
	if !d.makeRoom(m.peak) {
		return false
	}
	d.used += m.peak
	if d.used > d.budget {
		d.sim.fail("%s holds %d bytes of %d", d.id, d.used, d.budget)
	}
	s := &slot{model: m, coming: true}
	d.slots[m.index] = s
	d.transfers++
	d.loads.SetOpen(&d.groupsOf(m).want, false)
	c := m.cost(d.class)
	if from := d.peer(m, c); from != nil {
		d.copyFrom(from, s, c)
		return true
	}
	d.node.stage(m, c, func() {
		d.inTurn(func() {
			swap := millis(c.Swap)
			d.link.start(&flow{left: swap, lead: d.lead(c), usable: func() { d.arrived(s) }, done: func() { d.completed(s) }})
		})
	})
	return true
}

// lead is how long before the end of a copy computing may begin, so that both end
// together.
func (d *device) lead(c Cost) time.Duration {
	if !d.sim.cfg.Profile.Pipelined {
		return 0
	}
	return min(millis(c.Swap), millis(c.Compute))
}

// inTurn makes a copy over the link after those before it.
func (d *device) inTurn(begin func()) {
	if d.copying {
		d.copies = append(d.copies, begin)
		return
	}
	d.copying = true
	begin()
}

// completed: a copy over the link has ended.
func (d *device) completed(s *slot) {
	d.copying = false
	if len(d.copies) > 0 {
		next := d.copies[0]
		d.copies = d.copies[1:]
		d.copying = true
		next()
	}
	d.whole(s)
}

// arrived: the jobs of s may be computed.
func (d *device) arrived(s *slot) {
	s.ready = true
	c := s.model.cost(d.class)
	d.order.Add(s.model.name, policy.Entry{Size: s.model.bytes, Cost: millis(c.Swap), Spare: c.Swap <= c.Compute})
	d.sim.respare(s.model)
	d.sim.step(sched.Event{Kind: sched.Resident, Device: d.id, Model: s.model.name})
	g := d.groupsOf(s.model)
	for r := d.loads.PeekOf(d.sim.now, &g.want); r != nil; r = d.loads.PeekOf(d.sim.now, &g.want) {
		d.loads.Remove(r)
		d.queueUp(r.Owner.(*job))
	}
	d.advance()
}

// whole: all of s is here.
func (d *device) whole(s *slot) {
	s.whole, s.coming = true, false
	d.used -= s.model.peak - s.model.bytes
	d.transfers--
	if s.wholly != nil {
		s.wholly()
		return
	}
	d.advance()
}

// makeRoom evicts models that no held job needs, if that gives enough.
func (d *device) makeRoom(bytes int64) bool {
	free := d.budget - d.used
	if free >= bytes {
		return true
	}
	var leave []*model
	for name := range d.order.Victims() {
		m := d.sim.named(name)
		if s := d.slots[m.index]; s.sources > 0 || !s.whole || d.needs(m) {
			continue
		}
		free += m.bytes
		leave = append(leave, m)
		if free >= bytes {
			break
		}
	}
	if free < bytes {
		return false
	}
	for _, m := range leave {
		d.order.Remove(m.name)
		delete(d.slots, m.index)
		d.used -= m.bytes
		d.sim.respare(m)
		d.tell(sched.Event{Kind: sched.Evicted, Device: d.id, Model: m.name})
	}
	return true
}

func (d *device) needs(m *model) bool {
	for _, j := range d.held {
		if j.model == m {
			return true
		}
	}
	return false
}

// tell reports to the scheduler, which may take a moment. What is no longer true
// by then is not reported.
func (d *device) tell(e sched.Event) {
	d.sim.after(d.sim.cfg.Lag, func() {
		if d.slots[d.sim.named(e.Model).index] == nil {
			d.sim.step(e)
		}
	})
}

// compute computes a job. It ends no sooner than its model has come.
func (d *device) compute(j *job) {
	d.current = j
	takes := millis(j.model.cost(d.class).Compute)
	d.sim.after(takes, func() {
		d.computed += takes
		if s := d.slots[j.model.index]; !s.whole {
			s.wholly = func() { d.finish(j) }
			return
		}
		d.finish(j)
	})
}

func (d *device) finish(j *job) {
	d.current = nil
	for i, h := range d.held {
		if h == j {
			d.held = append(d.held[:i], d.held[i+1:]...)
			break
		}
	}
	if len(d.held) == 0 {
		d.busy += d.sim.now - d.busySince
	}
	j.Function.Count(d.sim.now, j.Deadline == 0 || d.sim.now <= j.Deadline)
	d.sim.after(d.sim.way/2, func() { d.sim.answered(j) })
	d.advance()
}
