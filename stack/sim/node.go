package sim

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// lane serves one at a time, first come first served: a disk.
type lane struct {
	freeAt time.Duration
}

// book returns when work that takes so long begins, and takes the lane till then.
func (l *lane) book(now, takes time.Duration) (begins time.Duration) {
	begins = max(now, l.freeAt)
	l.freeAt = begins + takes
	return begins
}

// node has host memory, a disk, links to its devices, and a book of what functions
// got here.
type node struct {
	sim    *simulation
	name   string
	links  []*link
	disk   lane
	budget int64 // of host memory, 0 for no limit
	used   int64
	staged policy.Order
	inside map[int]time.Duration // when models in host memory are, or will be, there
	book   *queue.Book
	order  queue.Policy // of what waits on the devices
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
