package sim

import (
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// pool stands in place of the scheduler where a simulation follows Torpor (USENIX
// ATC 2025): the devices of a node take requests from one queue, one at a time and
// one of each function, and the device of a request is chosen by algorithm 1 of the
// paper. Devices that it leaves open to choose among: the one with most free memory.
type pool struct {
	sim     *simulation
	waiting *queue.Queue
	groups  []queue.Group // by function
	busy    []bool        // functions with a request on a device
}

func newPool(s *simulation) *pool {
	p := &pool{
		sim: s, waiting: queue.New(s.nodes[0].order, passes),
		groups: make([]queue.Group, len(s.models)), busy: make([]bool, len(s.models)),
	}
	for i, m := range s.models {
		p.groups[i] = queue.NewGroup(m)
	}
	return p
}

func (p *pool) arrive(j *job) {
	now, c := p.sim.now, j.model.cost(p.sim.devices[0].class)
	j.Arrived, j.Function = now, p.sim.nodes[0].book.Function(now, j.model.function)
	if j.model.SLOms > 0 {
		j.Deadline = now + millis(j.model.SLOms)
	}
	j.Work = max(millis(c.Swap), millis(c.Compute))
	p.waiting.Push(now, &p.groups[j.model.index], &j.Request)
	p.waiting.SetOpen(&p.groups[j.model.index], !p.busy[j.model.index])
	p.pump()
}

func (p *pool) done(j *job) {
	p.busy[j.model.index] = false
	p.waiting.SetOpen(&p.groups[j.model.index], true)
	p.pump()
}

// pump gives requests to devices as long as there are both.
func (p *pool) pump() {
	for p.idle() {
		r := p.waiting.Next(p.sim.now)
		if r == nil {
			return
		}
		j := r.Owner.(*job)
		p.busy[j.model.index] = true
		p.waiting.SetOpen(&p.groups[j.model.index], false)
		p.choose(j.model).take(j)
	}
}

func (p *pool) idle() bool {
	for _, d := range p.sim.devices {
		if len(d.held) == 0 {
			return true
		}
	}
	return false
}

// choose is algorithm 1: a device that has the model; else any, if another device
// has it, since it can come from there; else one whose neighbours on the link copy
// nothing, or nothing heavy.
func (p *pool) choose(m *model) *device {
	var best *device
	least := 0
	for _, d := range p.sim.devices {
		if len(d.held) > 0 {
			continue
		}
		rank := p.rank(d, m)
		if best == nil || rank < least || rank == least && d.budget-d.used > best.budget-best.used {
			best, least = d, rank
		}
	}
	return best
}

// Ranks of devices, the best first.
const (
	hasModel = iota
	fromPeer
	linkIdle
	linkLight
	linkHeavy
)

func (p *pool) rank(d *device, m *model) int {
	if s := d.slots[m.index]; s != nil {
		return hasModel
	}
	if d.peer(m, m.cost(d.class)) != nil {
		return fromPeer
	}
	rank := linkIdle
	for _, other := range p.sim.devices {
		if other == d || other.link != d.link {
			continue
		}
		for _, s := range other.slots {
			if c := s.model.cost(d.class); s.coming && c.Swap > c.Compute {
				return linkHeavy
			} else if s.coming {
				rank = linkLight
			}
		}
	}
	return rank
}
