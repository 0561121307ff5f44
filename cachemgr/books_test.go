package cachemgr

import "slices"

// check holds the manager's books against each other.
func (r *rig) check() {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	host, waiting := int64(0), 0
	for _, mod := range m.entries {
		host += mod.hostBytes
		waiting += len(mod.waiting)
		if mod.queued != slices.Contains(m.host.waiting, mod) || mod.queued && mod.phase != onDisk {
			r.Errorf("%s: queued for host memory is %v in phase %d", mod.Name, mod.queued, mod.phase)
		}
		if len(mod.waiting) > 0 && mod.phase == onDisk && !mod.queued || len(mod.waiting) > 0 && mod.phase == staged && !mod.retiring {
			r.Errorf("%s: %d tickets are forgotten in phase %d", mod.Name, len(mod.waiting), mod.phase)
		}
	}
	if host != m.host.used || !r.growth && host > m.host.budget {
		r.Errorf("host pool counts %d bytes, models have %d, budget %d", m.host.used, host, m.host.budget)
	}
	for _, d := range m.devices {
		waiting += r.checkDevice(d)
	}
	r.checkList("retiring", m.leaving, func(mod *model) bool { return mod.retiring })
	r.checkList("pinned", m.pinned, func(mod *model) bool { return mod.pinned })
	if waiting != m.waiting {
		r.Errorf("%d tickets in lists, %d counted", waiting, m.waiting)
	}
}

// checkList holds a list of models against all models.
func (r *rig) checkList(name string, list []*model, is func(*model) bool) {
	n := 0
	for _, mod := range r.m.entries {
		if is(mod) {
			n++
		}
	}
	if n != len(list) || slices.ContainsFunc(list, func(mod *model) bool { return !is(mod) }) {
		r.Errorf("%d models are %s, %d are listed", n, name, len(list))
	}
}

func (r *rig) checkDevice(d *device) (waiting int) {
	var sum ledger
	idle, running, leases, batches := int64(0), 0, 0, false
	order := slices.Collect(d.order.Victims())
	for _, mod := range r.m.entries {
		s := mod.slots[d.index]
		switch s.state {
		case slotAbsent:
			sum.residual += s.residual
		case slotLoading:
			sum.loading += s.held.Peak
		case slotResident:
			sum.resident += s.held.Resident
		default:
			sum.draining += s.held.Resident
		}
		running += s.running
		leases += s.leases
		if s.state == slotResident && s.leases == 0 && !mod.pinned {
			idle += s.held.Resident - s.held.Residual
		}
		batches = batches || mod.spec.MaxBatch > 1
		waiting += s.want.Len()
		switch {
		case s.state == slotResident != slices.Contains(order, mod.key):
			r.Errorf("%s: in state %d, in the order of eviction %v", mod.Name, s.state, order)
		case s.state == slotResident && s.want.Len() > 0:
			r.Errorf("%s: %d wait for a resident model", mod.Name, s.want.Len())
		case s.leases > 0 && s.state != slotResident && s.state != slotDraining:
			r.Errorf("%s: %d leases in state %d", mod.Name, s.leases, s.state)
		case s.want.Len() > 0 && s.state != slotLoading && !s.queued:
			r.Errorf("%s: %d tickets are forgotten in state %d", mod.Name, s.want.Len(), s.state)
		case s.queued && (s.want.Len() == 0 || mod.phase != staged || mod.retiring):
			r.Errorf("%s: queued in phase %d with %d tickets", mod.Name, mod.phase, s.want.Len())
		case (s.state == slotDraining || s.state == slotClosing) != slices.Contains(d.leaving, s):
			r.Errorf("%s: in state %d, and the list of those that leave disagrees", mod.Name, s.state)
		case d.claim == s && !s.queued:
			r.Errorf("%s: models give way for it, and it does not wait", mod.Name)
		}
	}
	l := d.ledger
	sum.budget, sum.overhead, sum.reserved = l.budget, l.overhead, l.reserved
	if sum != l || min(l.resident, l.loading, l.draining, l.residual) < 0 || !r.growth && l.room() < 0 {
		r.Errorf("%s: ledger %+v, models have %+v", d.ID, l, sum)
	}
	if idle != d.idle {
		r.Errorf("%s: %d bytes are idle, %d counted", d.ID, idle, d.idle)
	}
	turns := d.turns.Len()
	if n := d.loads.Len(); n != waiting {
		r.Errorf("%s: %d wait for their model, %d are in the queue", d.ID, waiting, n)
	}
	if running != d.running || leases < running+turns || !batches && leases > running+turns {
		r.Errorf("%s: %d run, %d counted; %d leases, %d wait for their turn", d.ID, running, d.running, leases, turns)
	}
	return waiting + turns
}
