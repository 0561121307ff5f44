package cachemgr

import (
	"errors"
	"log/slog"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// reclaim lets models leave a device until short bytes are on their way, each
// kind in the order of the policy: idle ones, and if head is pressing, or there is
// none to wait for, those in use, which leave with their last request, then the residues of models that are on no
// device, and at last those of models that are on another device and have to leave
// that. (Residues come late because with them a model leaves host memory, too.)
// What head left behind on this device is part of its own need and stays.
func (m *Manager) reclaim(d *device, short int64, head *slot, pressing bool) {
	patient := !pressing && d.busy()
	if patient && d.idle < short {
		return // nobody leaves in vain
	}
	short -= m.evict(d, short, (*slot).idle)
	if short <= 0 || patient {
		return
	}
	if n := m.evict(d, short, func(*slot) bool { return true }); n > 0 {
		d.claim = head
		short -= n
	}
	short -= m.dropResidues(short, func(mod *model) *slot {
		if s := mod.slots[d.index]; s != head && !mod.anySlot((*slot).open) {
			return s
		}
		return nil
	})
	m.dropResidues(short, func(mod *model) *slot {
		if s := mod.slots[d.index]; s != head && !s.open() {
			return s
		}
		return nil
	})
}

func (s *slot) idle() bool { return s.leases == 0 }

// busy reports whether something goes on that ends, after which there may be room.
func (d *device) busy() bool {
	return d.running+d.turns.Len()+len(d.leaving) > 0 || d.ledger.loading > 0
}

// obtainable is how many bytes a load can have without those of models in use.
func (m *Manager) obtainable(d *device) int64 {
	return d.ledger.room() + m.leavingDevice(d) + d.idle
}

// countIdle follows a change of what device.idle depends on: where the slot's model
// is, its bytes and leases, and whether it is pinned. To add it up when it is asked
// for, which is at every change, would cost the more the more models are resident.
func (s *slot) countIdle() {
	n := int64(0)
	if s.state == slotResident && s.idle() && !s.model.pinned {
		n = s.held.Resident - s.held.Residual
	}
	s.dev.idle += n - s.idleBytes
	s.idleBytes = n
}

// makeWay lets idle models leave for one that waits for the link, so that it has its
// bytes when the link is free: the leaving is hidden behind the copies that go on.
func (m *Manager) makeWay(d *device, head *slot) {
	short := head.need() - d.ledger.room() - m.leavingDevice(d)
	if short > 0 && d.idle >= short {
		m.evict(d, short, (*slot).idle)
	}
}

// evict drains models that are not pinned and may leave, in the order of the
// policy, until short bytes are on their way; it returns how many are.
func (m *Manager) evict(d *device, short int64, may func(*slot) bool) (leaving int64) {
	if short <= 0 {
		return 0
	}
	var victims []*slot
	for key := range d.order.Victims() {
		if leaving >= short {
			break
		}
		mod := m.entries[key]
		if s := mod.slots[d.index]; !mod.pinned && may(s) {
			leaving += s.held.Resident - s.held.Residual
			victims = append(victims, s)
		}
	}
	for _, s := range victims {
		m.drain(s)
	}
	return leaving
}

// dropResidues unstages models for what they left on a device, until short bytes
// are on their way, and returns how many are. of names the slot, nil is none.
func (m *Manager) dropResidues(short int64, of func(*model) *slot) (leaving int64) {
	if short <= 0 {
		return 0
	}
	var victims []*model
	for key := range m.host.order.Victims() {
		if leaving >= short {
			break
		}
		mod := m.entries[key]
		if s := of(mod); s != nil && s.residual > 0 && !mod.pinned && !mod.retiring {
			leaving += s.residual
			victims = append(victims, mod)
		}
	}
	for _, mod := range victims {
		m.retire(mod)
	}
	return leaving
}

// leavingDevice is how many bytes a device will get back.
func (m *Manager) leavingDevice(d *device) (n int64) {
	for _, s := range d.leaving {
		n += s.held.Resident - s.held.Residual
	}
	for _, mod := range m.leaving {
		switch s := mod.slots[d.index]; s.state {
		case slotAbsent:
			n += s.residual
		case slotDraining, slotClosing:
			n += s.held.Residual
		}
	}
	return n
}

// drain ends the leasing of a resident model; it leaves with its last lease.
func (m *Manager) drain(s *slot) {
	s.state = slotDraining
	s.countIdle()
	s.dev.leaving = append(s.dev.leaving, s)
	s.dev.order.Remove(s.model.key)
	s.dev.ledger.drain(s.held.Resident)
	s.repriceOthers()
	m.mark(s.model)
	m.closeIfUnused(s)
}

// keep takes a drain back: the model is still there, and whoever is the next to
// get bytes wants it.
func (m *Manager) keep(s *slot) {
	s.state = slotResident
	s.countIdle()
	s.dev.leaving = without(s.dev.leaving, s)
	s.dev.ledger.keep(s.held.Resident)
	s.entry.Spare = s.spare()
	s.dev.order.Add(s.model.key, s.entry)
	s.repriceOthers()
	m.mark(s.model)
	m.leaseAll(s)
}

// release ends one lease.
func (m *Manager) release(s *slot) {
	s.leases--
	s.countIdle()
	m.closeIfUnused(s)
}

func (m *Manager) closeIfUnused(s *slot) {
	if s.state != slotDraining || s.leases > 0 {
		return
	}
	s.state = slotClosing
	s.dev.closing++
	instance := s.instance
	m.background(func() func() {
		err := instance.Close()
		return func() { m.evicted(s, err) }
	})
}

// evicted counts an instance as gone, also where its Close failed: nothing more
// can be done about it, and before the next load the driver says what is free.
func (m *Manager) evicted(s *slot, err error) {
	d, mod := s.dev, s.model
	d.closing--
	d.leaving = without(d.leaving, s)
	d.ledger.evicted(s.held.Resident, s.held.Residual)
	s.residual = s.held.Residual
	s.state, s.instance, s.held = slotAbsent, nil, engine.Cost{}
	mod.stats.Evictions++
	s.hasLeft()
	m.mark(mod)
	m.say(slog.LevelDebug, "model evicted", "model", mod.Name, "device", d.ID)
	if err != nil {
		m.say(slog.LevelWarn, "device memory may not have been given back", "model", mod.Name, "device", d.ID, "error", err)
	}
	if errors.Is(err, engine.ErrDeviceLost) {
		m.retire(mod)
		m.lose(d, err)
	}
	m.unstageIfUnused(mod)
	m.foresee(s)
	if next := d.expected; next != nil && d.closing == 0 {
		d.expected = nil
		m.prefetch(next)
	}
}

// lose takes everything off a device that was lost: requests that wait for it
// fail, those that run will, and every model that was there is opened anew when
// it is needed again.
func (m *Manager) lose(d *device, err error) {
	if d.loss.err == nil || !d.loss.holds(time.Now()) {
		m.note(&d.loss, err)
		m.say(slog.LevelError, "device lost", "device", d.ID, "retry_at", d.loss.retryAt, "error", err)
	}
	m.failTurns(d, err)
	for _, mod := range m.entries {
		s := mod.slots[d.index]
		if s.state != slotLoading { // a Load will find out itself
			m.failSlot(s, err)
		}
		if s.open() || s.residual > 0 {
			m.retire(mod)
		}
	}
}
