package sim

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// lane serves one at a time, first come first served: a disk, or a link.
type lane struct {
	freeAt time.Duration
}

// book returns when work that takes so long begins, and takes the lane till then.
func (l *lane) book(now, takes time.Duration) (begins time.Duration) {
	begins = max(now, l.freeAt)
	l.freeAt = begins + takes
	return begins
}

// node has host memory, a disk, and links to its devices.
type node struct {
	sim    *simulation
	name   string
	links  []*lane
	disk   lane
	budget int64 // of host memory, 0 for no limit
	used   int64
	staged policy.Order
	inside map[int]time.Duration // when models in host memory are, or will be, there
}

// stage brings m into host memory and calls then once it is there.
func (n *node) stage(m *model, c Cost, then func()) {
	if at, ok := n.inside[m.index]; ok {
		n.staged.Touch(m.name)
		n.sim.after(max(0, at-n.sim.now), then)
		return
	}
	if n.budget > 0 {
		n.makeRoom(m.bytes)
	}
	load := millis(c.Load)
	there := n.sim.now
	if load > 0 {
		there = n.disk.book(n.sim.now, load) + load
	}
	n.inside[m.index] = there
	n.used += m.bytes
	n.staged.Add(m.name, policy.Entry{Size: m.bytes, Cost: load})
	n.sim.after(there-n.sim.now, then)
}

// fill stages models until host memory is full.
func (n *node) fill() {
	for _, m := range n.sim.models {
		if n.budget > 0 && n.used+m.bytes > n.budget {
			return
		}
		n.inside[m.index] = 0
		n.used += m.bytes
		n.staged.Add(m.name, policy.Entry{Size: m.bytes})
		n.sim.step(sched.Event{Kind: sched.Staged, Node: n.name, Model: m.name})
	}
}

// makeRoom lets models leave host memory. One that is on a device stays there.
func (n *node) makeRoom(bytes int64) {
	var leave []*model
	free := n.budget - n.used
	for name := range n.staged.Victims() {
		if free >= bytes {
			break
		}
		m := n.sim.named(name)
		free += m.bytes
		leave = append(leave, m)
	}
	for _, m := range leave {
		n.staged.Remove(m.name)
		n.used -= m.bytes
		delete(n.inside, m.index)
		n.sim.step(sched.Event{Kind: sched.Unstaged, Node: n.name, Model: m.name})
	}
}

// slot is a model on a device, or on its way there.
type slot struct {
	model *model
	ready bool
}

// device computes one job at a time and holds others.
type device struct {
	sim      *simulation
	node     *node
	id       string
	class    string
	linkName string
	link     *lane
	budget   int64
	used     int64
	order    policy.Order // of the slots that are ready
	slots    map[int]*slot
	held     []*job // in the order in which they came
	current  *job

	busySince time.Duration
	computed  time.Duration // time that it computed
	busy      time.Duration // time that it held a job
}

// take accepts a job.
func (d *device) take(j *job) {
	j.device = d
	if len(d.held) == 0 {
		d.busySince = d.sim.now
	}
	d.held = append(d.held, j)
	s := d.slots[j.model.index]
	switch {
	case s == nil:
		d.sim.result.miss(j)
	case s.ready:
		d.order.Touch(j.model.name)
	}
	d.advance()
}

// advance starts whatever can start now.
func (d *device) advance() {
	for _, j := range d.held {
		if d.slots[j.model.index] == nil {
			d.fetch(j.model)
		}
	}
	if d.current != nil {
		return
	}
	for _, j := range d.held {
		if s := d.slots[j.model.index]; s != nil && s.ready {
			d.compute(j)
			return
		}
	}
}

// fetch begins to bring m here, if it can get the bytes.
func (d *device) fetch(m *model) {
	if !d.makeRoom(m.bytes) {
		return // a held job has to end first
	}
	d.used += m.bytes
	if d.used > d.budget {
		d.sim.fail("%s holds %d bytes of %d", d.id, d.used, d.budget)
	}
	s := &slot{model: m}
	d.slots[m.index] = s
	c := m.cost(d.class)
	d.node.stage(m, c, func() {
		swap := millis(c.Swap)
		begins := d.link.book(d.sim.now, swap)
		usable := swap
		if d.sim.cfg.Profile.Pipelined {
			usable = max(0, swap-millis(c.Compute))
		}
		d.sim.after(begins+usable-d.sim.now, func() { d.arrived(s, swap) })
	})
}

func (d *device) arrived(s *slot, swap time.Duration) {
	s.ready = true
	d.order.Add(s.model.name, policy.Entry{Size: s.model.bytes, Cost: swap, Spare: swap <= millis(s.model.cost(d.class).Compute)})
	d.sim.step(sched.Event{Kind: sched.Resident, Device: d.id, Model: s.model.name})
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
		if d.needs(m) {
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

func (d *device) compute(j *job) {
	d.current = j
	takes := millis(j.model.cost(d.class).Compute)
	d.sim.after(takes, func() {
		d.computed += takes
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
	d.sim.after(d.sim.way/2, func() {
		delete(d.sim.jobs, j.id)
		d.sim.result.done(j, d.sim.now)
		d.sim.step(sched.Event{Kind: sched.Done, ID: j.id})
	})
	d.advance()
}
