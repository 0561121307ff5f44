package cachemgr

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// reclaim lets models leave a device until short bytes are on their way, each
// kind in the order of the policy: idle ones, then the residues of models that
// are on no device, then those in use, which leave with their last request, and
// at last residues of models that are on another device and have to leave that.
// What head left behind on this device is part of its own need and stays.
func (m *Manager) reclaim(d *device, short int64, head *slot) {
	short -= m.evictIdle(d, short)
	short -= m.dropResidues(d, short, head, func(mod *model) bool { return !mod.anySlot((*slot).open) })
	for _, s := range m.victims(d) {
		if short > 0 {
			short -= s.held.Resident - s.held.Residual
			m.drain(s)
		}
	}
	m.dropResidues(d, short, head, func(*model) bool { return true })
}

// evictIdle lets idle models leave until short bytes are on their way, and
// returns how many are.
func (m *Manager) evictIdle(d *device, short int64) (leaving int64) {
	for _, s := range m.victims(d) {
		if leaving < short && s.leases == 0 {
			leaving += s.held.Resident - s.held.Residual
			m.drain(s)
		}
	}
	return leaving
}

// dropResidues unstages models that left bytes on a device until short bytes are
// on their way, and returns how many are.
func (m *Manager) dropResidues(d *device, short int64, head *slot, may func(*model) bool) (leaving int64) {
	for _, key := range slices.Collect(m.host.order.Victims()) {
		mod := m.entries[key]
		s := mod.slots[d.index]
		if leaving < short && s != head && s.residual > 0 && s.state == slotAbsent &&
			!mod.pinned && !mod.retiring && may(mod) {
			leaving += s.residual
			m.retire(mod)
		}
	}
	return leaving
}

// victims are the resident models of a device that are not pinned, in the order
// of the policy.
func (m *Manager) victims(d *device) []*slot {
	var slots []*slot
	for key := range d.order.Victims() {
		if mod := m.entries[key]; !mod.pinned {
			slots = append(slots, mod.slots[d.index])
		}
	}
	return slots
}

// leavingDevice is how many bytes a device will get back.
func (m *Manager) leavingDevice(d *device) (n int64) {
	for _, mod := range m.entries {
		n += mod.slots[d.index].leaving()
	}
	return n
}

// drain ends the leasing of a resident model; it leaves with its last lease.
func (m *Manager) drain(s *slot) {
	s.state = slotDraining
	s.dev.order.Remove(s.model.key)
	s.dev.ledger.drain(s.held.Resident)
	m.mark(s.model)
	m.closeIfUnused(s)
}

// release ends one lease.
func (m *Manager) release(s *slot) {
	s.leases--
	m.closeIfUnused(s)
}

func (m *Manager) closeIfUnused(s *slot) {
	if s.state != slotDraining || s.leases > 0 {
		return
	}
	s.state = slotClosing
	s.dev.closing++
	instance := s.instance
	m.engineCall(func(context.Context) func() {
		err := instance.Close()
		return func() { m.evicted(s, err) }
	})
}

// evicted counts an instance as gone, also where its Close failed: nothing more
// can be done about it, and before the next load the driver says what is free.
func (m *Manager) evicted(s *slot, err error) {
	d, mod := s.dev, s.model
	d.closing--
	d.ledger.evicted(s.held.Resident, s.held.Residual)
	s.residual = s.held.Residual
	s.state, s.instance, s.held = slotAbsent, nil, engine.Cost{}
	mod.stats.Evictions++
	m.mark(mod)
	if err != nil {
		m.log.Warn("device memory may not have been given back", "model", mod.Name, "device", d.ID, "error", err)
	}
	if errors.Is(err, engine.ErrDeviceLost) {
		m.retire(mod)
		m.lose(d, err)
	}
	m.unstageIfUnused(mod)
}

// lose takes everything off a device that was lost: requests that wait for it
// fail, those that run will, and every model that was there is opened anew when
// it is needed again.
func (m *Manager) lose(d *device, err error) {
	if d.loss.err == nil || !d.loss.holds(time.Now()) {
		m.note(&d.loss, err)
		m.log.Error("device lost", "device", d.ID, "retry_at", d.loss.retryAt, "error", err)
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
