package cachemgr

import (
	"context"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// This file is the life of a ticket: made by enqueue, put where its model's state
// says by place, moved on by what happens to the model, settled once.

// route finds the device for a request, or says why there is none.
func (m *Manager) route(mod *model, hint engine.DeviceID, now time.Time) (*device, error) {
	var few [4]candidate // on the stack, as long as there are no more devices
	candidates := few[:0]
	for _, s := range mod.slots {
		d := s.dev
		candidates = append(candidates, candidate{
			id:       d.ID,
			usable:   !d.loss.holds(now) && !s.failure.holds(now) && !s.tooLarge(),
			resident: s.state == slotResident,
			coming:   s.state == slotLoading || s.queued,
			busy:     d.running + d.queued,
			room:     d.ledger.room(),
		})
	}
	if i := choose(hint, candidates); i >= 0 {
		return m.devices[i], nil
	}
	return nil, mod.refusal(hint, now)
}

func (s *slot) tooLarge() bool { return s.known && s.cost.Peak > s.dev.ledger.limit() }

// refusal says why no device is usable: of the one hinted at, else of the first.
func (mod *model) refusal(hint engine.DeviceID, now time.Time) error {
	s := mod.slots[0]
	for _, other := range mod.slots {
		if other.dev.ID == hint {
			s = other
		}
	}
	switch {
	case s.failure.holds(now):
		return s.failure.asError()
	case s.dev.loss.holds(now):
		return s.dev.loss.asError()
	default:
		return deviceTooSmall(s, 0)
	}
}

// admit finds the model and the device of a new call.
func (m *Manager) admit(digest string, hint engine.DeviceID, now time.Time) (*model, *device, error) {
	mod, err := m.find(digest)
	if err != nil {
		return nil, nil, err
	}
	if err := m.refuseOpen(mod, now); err != nil {
		return nil, nil, err
	}
	d, err := m.route(mod, hint, now)
	return mod, d, err
}

// refuseOpen says why a model that is not in host memory will not be opened.
func (m *Manager) refuseOpen(mod *model, now time.Time) error {
	switch {
	case mod.phase != onDisk:
		return nil
	case mod.failure.holds(now):
		return mod.failure.asError()
	case mod.openCost() > m.host.budget:
		return m.hostTooSmall(mod, mod.openCost(), 0)
	}
	return nil
}

// enqueue makes a ticket for a call that cannot go on at once. d is nil for
// toDescribe.
func (m *Manager) enqueue(mod *model, d *device, p purpose, hint engine.DeviceID, now time.Time) (*ticket, error) {
	if m.waiting >= m.cfg.QueueDepth {
		return nil, fmt.Errorf("%d requests wait already: %w", m.waiting, ErrOverloaded)
	}
	m.tickets++
	t := &ticket{
		model: mod, purpose: p, hint: hint, number: m.tickets, arrived: now,
		done: make(chan struct{}),
	}
	m.waiting++
	m.calls++
	m.place(t, d)
	m.mark(mod)
	if t.at != atRun { // it may have to be opened or loaded
		m.pump()
	}
	return t, nil
}

// place puts a ticket that is in no list into the right one.
func (m *Manager) place(t *ticket, d *device) {
	t.countAt(d)
	mod := t.model
	if d == nil {
		m.waitForModel(t)
		return
	}
	s := mod.slots[d.index]
	switch {
	case s.state == slotResident:
		m.lease(s, t)
		m.dispatch(d)
	case s.state == slotLoading || mod.phase == staged && !mod.retiring:
		t.at, t.slot = atSlot, s
		s.waiting = append(s.waiting, t)
		m.queueLoad(s)
	default:
		m.waitForModel(t)
	}
}

func (m *Manager) waitForModel(t *ticket) {
	t.at = atModel
	t.model.waiting = append(t.model.waiting, t)
	m.queueOpen(t.model)
}

// countAt moves a ticket to a device's count of waiting requests.
func (t *ticket) countAt(d *device) {
	if t.dev != nil {
		t.dev.queued--
	}
	if t.dev = d; d != nil {
		d.queued++
	}
}

// lease lets a ticket have a resident model: to run it waits for its turn, to
// load was all that it wanted.
func (m *Manager) lease(s *slot, t *ticket) {
	t.slot = s
	if t.purpose != toRun {
		t.at = nowhere
		m.settle(t, nil)
		return
	}
	s.leases++
	t.at = atRun
	s.dev.run.push(t)
}

// dispatch lets requests compute while there is room for them.
func (m *Manager) dispatch(d *device) {
	for d.running < m.cfg.Concurrency {
		t := d.run.next(func(t *ticket) bool { return t.slot.mayRun() })
		if t == nil {
			return
		}
		t.at = nowhere
		t.slot.running++
		d.running++
		m.settle(t, nil)
	}
}

// mayRun: the instance allows one more request at once.
func (s *slot) mayRun() bool { return s.running < s.model.concurrency() }

// settle ends the wait of a ticket that is in no list.
func (m *Manager) settle(t *ticket, err error) {
	t.countAt(nil)
	m.waiting--
	if err != nil && t.purpose == toRun {
		t.model.stats.Failures++
	}
	if err != nil || t.purpose != toRun { // else it runs, and finish counts
		m.calls--
	}
	t.settled, t.err = true, err
	m.mark(t.model)
	close(t.done)
}

// unlist takes a ticket out of its list, and with it what it was there for.
func (m *Manager) unlist(t *ticket) {
	switch t.at {
	case atModel:
		t.model.waiting = without(t.model.waiting, t)
		if len(t.model.waiting) == 0 {
			m.unqueueOpen(t.model)
		}
	case atSlot:
		s := t.slot
		s.waiting = without(s.waiting, t)
		if len(s.waiting) == 0 {
			m.unqueueLoad(s)
			s.retried = false
		}
	case atRun:
		t.slot.dev.run.remove(t)
		m.release(t.slot)
	}
	t.at = nowhere
}

// failSlot fails all that wait for a model on one device.
func (m *Manager) failSlot(s *slot, err error) {
	for len(s.waiting) > 0 {
		t := s.waiting[0]
		m.unlist(t)
		m.settle(t, err)
	}
}

// failWaiting fails all that wait for a model to be opened or loaded.
func (m *Manager) failWaiting(mod *model, err error) {
	for len(mod.waiting) > 0 {
		t := mod.waiting[0]
		m.unlist(t)
		m.settle(t, err)
	}
	for _, s := range mod.slots {
		m.failSlot(s, err)
	}
}

// failTurns fails all that wait for a device to compute on.
func (m *Manager) failTurns(d *device, err error) {
	for _, t := range d.run.all() {
		m.unlist(t)
		m.settle(t, err)
	}
}

// wait returns when a ticket is settled, or ctx ends, or the wait was too long.
// A limit of 0 is none. After nil a ticket toRun has its turn: finish must follow.
func (m *Manager) wait(ctx context.Context, t *ticket, limit time.Duration) error {
	var expired <-chan time.Time
	if limit > 0 {
		timer := time.NewTicker(limit)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case <-t.done:
			return t.err
		case <-ctx.Done():
			return m.leave(t, ctx.Err())
		case <-expired:
			m.expire(t, limit)
		}
	}
}

// leave gives up a wait, or the turn if it has come meanwhile.
func (m *Manager) leave(t *ticket, cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !t.settled:
		m.unlist(t)
		m.settle(t, cause)
		m.pump()
	case t.err != nil:
		return t.err
	case t.purpose == toRun:
		m.end(t.slot, 0, cause)
	default:
		return nil
	}
	return cause
}

// expire fails a ticket that has waited for too long, unless its model is being
// brought at this very moment: that has a limit of its own.
func (m *Manager) expire(t *ticket, limit time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.settled || t.at == atModel && t.model.phase == opening || t.at == atSlot && t.slot.state == slotLoading {
		return
	}
	where := map[place]string{
		atModel: "for host memory", atSlot: "for memory of the device", atRun: "for the device",
	}[t.at]
	m.unlist(t)
	m.settle(t, fmt.Errorf("%s waited %v %s: %w", t.model.Name, limit, where, ErrOverloaded))
	m.pump()
}
