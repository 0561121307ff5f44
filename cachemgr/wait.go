package cachemgr

import (
	"context"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// This file is the life of a ticket: made by enqueue, put where its model's state
// says by place, moved on by what happens to the model, settled once.

// newTicket makes a ticket for a call that cannot go on at once.
func (m *Manager) newTicket(mod *model, p purpose, hint engine.DeviceID, now time.Time) *ticket {
	m.tickets++
	t := &ticket{model: mod, purpose: p, hint: hint, arrived: now, done: make(chan struct{})}
	t.Request = queue.Request{Owner: t, Number: m.tickets, Arrived: now.Sub(m.began)}
	return t
}

// enqueue lets a ticket wait. d is nil for toDescribe.
func (m *Manager) enqueue(t *ticket, d *device) error {
	if m.waiting >= m.cfg.QueueDepth {
		return fmt.Errorf("%d requests wait already: %w", m.waiting, ErrOverloaded)
	}
	m.waiting++
	m.calls++
	m.place(t, d)
	m.mark(t.model)
	if t.at != atRun { // it may have to be opened or loaded
		m.pump()
	}
	return nil
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
		t.Work = s.swap.value + s.compute.value
		d.loads.Push(m.clock(), &s.want, &t.Request)
		m.look(d)
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
	s.countIdle()
	t.at = atRun
	t.Work = s.compute.value
	t.alone = m.mustRunAlone(t, time.Now())
	s.dev.turns.Push(m.clock(), &s.turn, &t.Request)
	m.holdBack(s, t)
	s.allowTurns()
}

// dispatch lets requests compute while there is room for them.
func (m *Manager) dispatch(d *device) {
	for d.running < m.cfg.Concurrency {
		r := d.turns.Next(m.clock())
		if r == nil {
			return
		}
		t := owner(r)
		t.at = nowhere
		m.begin(t.slot)
		if b := m.batchFor(t); b != nil {
			m.start(b)
		} else {
			m.settle(t, nil)
		}
	}
}

// mayRun: the instance allows one more request at once.
func (s *slot) mayRun() bool { return s.running < s.model.concurrency() }

// allowTurns tells the queue whether those that wait for the instance can run.
func (s *slot) allowTurns() { s.dev.turns.SetOpen(&s.turn, s.mayRun() && !s.hold.on) }

// begin counts one more run of the instance.
func (m *Manager) begin(s *slot) {
	s.running++
	s.dev.running++
	s.allowTurns()
	m.look(s.dev)
}

// endTurn is the end of a run.
func (m *Manager) endTurn(s *slot) {
	s.running--
	s.dev.running--
	s.allowTurns()
	m.look(s.dev)
}

// waitsNoMore takes a ticket that is in no list out of the counts.
func (m *Manager) waitsNoMore(t *ticket) {
	t.countAt(nil)
	m.waiting--
	m.mark(t.model)
}

// settle ends the wait of a ticket that is in no list.
func (m *Manager) settle(t *ticket, err error) {
	m.waitsNoMore(t)
	if err != nil && t.purpose == toRun {
		t.model.stats.Failures++
		m.count(t.client, err)
	}
	if err != nil || t.purpose != toRun { // else it runs, and finish counts
		m.calls--
	}
	t.settled, t.err = true, err
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
		s.dev.loads.Remove(&t.Request)
		m.look(s.dev)
		if s.want.Len() == 0 {
			m.unqueueLoad(s)
			s.retried = false
		}
	case atRun:
		t.slot.dev.turns.Remove(&t.Request)
		m.release(t.slot)
	}
	t.at = nowhere
}

// failSlot fails all that wait for a model on one device.
func (m *Manager) failSlot(s *slot, err error) {
	for _, t := range byArrival(ticketsOf(&s.want)) {
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
	for g := range d.turns.Groups() {
		for _, t := range byArrival(ticketsOf(g)) {
			m.unlist(t)
			m.settle(t, err)
		}
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

// leave gives up a wait, or the turn if it has come meanwhile. When it returns the
// tensors of the request are the caller's.
func (m *Manager) leave(t *ticket, cause error) error {
	m.mu.Lock()
	b := t.batch
	inside := b != nil && !t.settled
	err := m.giveUp(t, cause)
	m.mu.Unlock()
	if inside {
		<-b.gathered
	}
	return err
}

func (m *Manager) giveUp(t *ticket, cause error) error {
	switch {
	case !t.settled && t.batch != nil:
		m.leaveBatch(t, cause)
	case !t.settled:
		m.unlist(t)
		m.settle(t, cause)
		m.pump()
	case t.err != nil:
		return t.err
	case t.batch != nil:
		t.batch.drop()
	case t.purpose == toRun:
		m.end(t.slot, 0, cause)
		m.count(t.client, cause)
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
	if t.settled || t.batch != nil || t.at == atModel && t.model.phase == opening || t.at == atSlot && t.slot.state == slotLoading {
		return
	}
	where := map[place]string{
		atModel: "for host memory", atSlot: "for memory of the device", atRun: "for the device",
	}[t.at]
	m.unlist(t)
	m.settle(t, fmt.Errorf("%s waited %v %s: %w", t.model.Name, limit, where, ErrOverloaded))
	m.pump()
}
