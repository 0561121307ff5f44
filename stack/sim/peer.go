package sim

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// This file is about models that are on several devices of a node: copies between
// devices, and what it means for eviction.

// peer is the device that m is copied from rather than from host memory, nil if
// there is none. Devices of a node are all connected, each two by a link of their
// own.
func (d *device) peer(m *model, c Cost) *device {
	if !d.sim.cfg.Peers || c.Peer <= 0 {
		return nil
	}
	for _, other := range d.sim.devices {
		if s := other.slots[m.index]; other != d && other.node == d.node && s != nil && s.whole {
			return other
		}
	}
	return nil
}

// copyFrom brings s from another device, where it stays meanwhile.
func (d *device) copyFrom(from *device, s *slot, c Cost) {
	source := from.slots[s.model.index]
	source.sources++
	copies, lead := millis(c.Peer), time.Duration(0)
	if d.sim.cfg.Profile.Pipelined {
		lead = min(copies, millis(c.Compute))
	}
	d.sim.after(copies-lead, func() { d.arrived(s) })
	d.sim.after(copies, func() {
		source.sources--
		from.advance()
		d.whole(s)
	})
}

// respare tells the devices that have m whether they could do without it: it is
// light, or another device has it, too.
func (s *simulation) respare(m *model) {
	if !s.cfg.Peers {
		return
	}
	holders := 0
	for _, d := range s.devices {
		if d.slots[m.index] != nil {
			holders++
		}
	}
	for _, d := range s.devices {
		if at := d.slots[m.index]; at != nil && at.ready {
			c := m.cost(d.class)
			d.order.Update(m.name, policy.Entry{Size: m.bytes, Cost: millis(c.Swap), Spare: holders > 1 || c.Swap <= c.Compute})
		}
	}
}
