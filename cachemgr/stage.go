package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// This file is the host pool: disk -> host memory -> disk. All of it runs with
// the lock held, but for what is passed to engineCall.

// queueOpen makes a model wait for host memory, unless it does already or is on
// its way up or down; it is then looked at again when it has arrived.
func (m *Manager) queueOpen(mod *model) {
	if mod.phase == onDisk && !mod.queued {
		mod.queued = true
		m.host.waiting = append(m.host.waiting, mod)
	}
}

func (m *Manager) unqueueOpen(mod *model) {
	mod.queued = false
	m.host.waiting = without(m.host.waiting, mod)
}

// pumpHost opens the models that wait for host memory, first come first served,
// and makes room for the first that has none.
func (m *Manager) pumpHost() {
	h := &m.host
	for {
		need := int64(0) // without a waiter: only back below the budget
		var head *model
		if len(h.waiting) > 0 {
			head = h.waiting[0]
			need = head.openCost()
			if pinned := m.pinnedHost(head); need > h.budget-pinned {
				m.unqueueOpen(head)
				m.failWaiting(head, m.hostTooSmall(head, need, pinned))
				continue
			}
		}
		if short := need - (h.budget - h.used); short > 0 {
			m.reclaimHost(short - m.leavingHost())
			return
		}
		if head == nil || head.retried && h.closing > 0 {
			return
		}
		m.unqueueOpen(head)
		m.open(head, need)
	}
}

func (m *Manager) hostTooSmall(mod *model, need, pinned int64) error {
	if need > m.host.budget {
		return fmt.Errorf("%s takes %d bytes of host memory, the budget is %d: %w", mod.Name, need, m.host.budget, ErrTooLarge)
	}
	return fmt.Errorf("%s takes %d bytes of host memory, pinned models hold %d of %d: %w",
		mod.Name, need, pinned, m.host.budget, engine.ErrNoMemory)
}

// open reads a model into host memory.
func (m *Manager) open(mod *model, reserve int64) {
	mod.phase, mod.openBegan = opening, time.Now()
	mod.hostBytes = reserve
	m.host.used += reserve
	m.mark(mod)
	file := engine.Model{Name: mod.Name, Path: mod.Path, Format: mod.Format}
	m.engineCall(func(ctx context.Context) func() {
		st, err := m.cfg.Engine.Open(ctx, file)
		if err != nil {
			return func() { m.openFailed(mod, fmt.Errorf("open %s: %w", file.Name, err)) }
		}
		d := m.describe(st)
		return func() { m.opened(mod, st, d) }
	})
}

// description is what a staged model says of itself.
type description struct {
	spec  engine.Spec
	costs []engine.Cost // by device
}

// describe asks an engine; the lock is not held.
func (m *Manager) describe(st engine.Staged) description {
	d := description{spec: st.Spec()}
	for _, dev := range m.devices {
		d.costs = append(d.costs, sane(st.Cost(dev.ID)))
	}
	return d
}

// learn keeps a description and counts the host bytes that it states.
func (m *Manager) learn(mod *model, d description) {
	mod.spec, mod.hostCost = d.spec, 0
	for i, s := range mod.slots {
		s.cost, s.known = d.costs[i], true
		mod.hostCost = max(mod.hostCost, s.cost.Host)
	}
	m.host.used += mod.hostCost - mod.hostBytes
	mod.hostBytes = mod.hostCost
	if mod.pinned && m.checkPins() != nil {
		m.unpin(mod)
		m.log.Warn("no longer pinned: larger than it was said to be", "model", mod.Name, "bytes", mod.pinBytes())
	}
}

func (m *Manager) opened(mod *model, st engine.Staged, d description) {
	mod.phase, mod.staged = staged, st
	mod.openEnded = time.Now()
	mod.retried = false
	m.learn(mod, d)
	m.host.order.Add(mod.key, policy.Entry{Size: mod.hostBytes, Cost: mod.openEnded.Sub(mod.openBegan)})
	m.mark(mod)
	if mod.hostBytes > m.host.budget {
		err := m.hostTooSmall(mod, mod.hostBytes, 0)
		m.note(&mod.failure, err)
		m.failWaiting(mod, err)
		m.retire(mod)
	} else {
		mod.failure = failure{}
	}
	if mod.retiring {
		m.unstageIfUnused(mod) // it may have been retired while it was opened
		return
	}
	waiting := mod.waiting
	mod.waiting = nil
	for _, t := range waiting {
		m.placeStaged(t)
	}
}

// placeStaged moves a ticket on whose model has been opened: only now it is
// known on which devices the model fits.
func (m *Manager) placeStaged(t *ticket) {
	t.at = nowhere
	if t.purpose == toDescribe {
		m.settle(t, nil)
		return
	}
	d, err := m.route(t.model, t.hint, time.Now())
	if err != nil {
		m.settle(t, err)
		return
	}
	m.place(t, d)
}

func (m *Manager) openFailed(mod *model, err error) {
	m.host.used -= mod.hostBytes
	mod.phase, mod.hostBytes = onDisk, 0
	m.retired(mod)
	m.mark(mod)
	defer m.dropIfGone(mod)
	switch {
	case m.isClosing(err):
		m.failWaiting(mod, ErrClosed)
		return
	case errors.Is(err, engine.ErrNoMemory) && !mod.retried && len(mod.waiting) > 0 && m.emptyHost():
		m.log.Info("host memory is short, evicted idle models to try again", "model", mod.Name, "error", err)
		mod.retried, mod.queued = true, true
		m.host.waiting = slices.Insert(m.host.waiting, 0, mod)
		return
	}
	mod.retried = false
	m.note(&mod.failure, err)
	m.log.Warn("model cannot be opened", "model", mod.Name, "digest", mod.Digest, "retry_at", mod.failure.retryAt, "error", err)
	m.failWaiting(mod, err)
}

// emptyHost unstages what nobody uses, and reports whether anything leaves.
func (m *Manager) emptyHost() bool {
	m.retireHost(math.MaxInt64, (*model).unusedAnywhere)
	return m.host.closing > 0
}

// reclaimHost lets models leave until short bytes are on their way: first those
// that are on no device, then those that nobody uses there, then any; each in
// the order of the policy. A model with requests that wait for it stays.
func (m *Manager) reclaimHost(short int64) {
	for _, may := range []func(*model) bool{(*model).unusedAnywhere, (*model).unleased, (*model).unwanted} {
		if short <= 0 {
			return
		}
		short -= m.retireHost(short, may)
	}
}

// retireHost retires models that may leave until short bytes are on their way,
// and returns how many are.
func (m *Manager) retireHost(short int64, may func(*model) bool) (leaving int64) {
	var victims []*model
	for key := range m.host.order.Victims() {
		if leaving >= short {
			break
		}
		if mod := m.entries[key]; may(mod) {
			leaving += mod.hostBytes
			victims = append(victims, mod)
		}
	}
	for _, mod := range victims {
		m.retire(mod)
	}
	return leaving
}

// unwanted: it may leave once the requests that hold it are done.
func (mod *model) unwanted() bool {
	return mod.phase == staged && !mod.retiring && !mod.pinned &&
		!mod.anySlot(func(s *slot) bool { return s.state == slotLoading || len(s.waiting) > 0 })
}

func (mod *model) unleased() bool {
	return mod.unwanted() && !mod.anySlot(func(s *slot) bool { return s.leases > 0 })
}

func (mod *model) unusedAnywhere() bool {
	return mod.unwanted() && !mod.anySlot((*slot).open)
}

// leavingHost is how many bytes host memory will get back.
func (m *Manager) leavingHost() (n int64) {
	for _, mod := range m.leaving {
		n += mod.hostBytes
	}
	return n
}

// retire makes a model leave its devices and then host memory. Requests that
// wait for it to be loaded wait for it to be opened again instead.
func (m *Manager) retire(mod *model) {
	if mod.phase == onDisk && mod.gone {
		m.unqueueOpen(mod)
	}
	if mod.retiring || mod.phase == onDisk || mod.phase == unstaging {
		return
	}
	mod.retiring = true
	m.leaving = append(m.leaving, mod)
	m.mark(mod)
	for _, s := range mod.slots {
		if s.queued {
			m.unqueueLoad(s)
			m.backToModel(s)
		}
		if s.state == slotResident {
			m.drain(s)
		}
	}
	m.unstageIfUnused(mod)
}

// retired ends that, if it was so: the model is on disk.
func (m *Manager) retired(mod *model) {
	mod.unstagings++
	if mod.retiring {
		mod.retiring = false
		m.leaving = without(m.leaving, mod)
	}
}

// backToModel makes a slot's tickets wait for the model to be opened.
func (m *Manager) backToModel(s *slot) {
	for _, t := range s.waiting {
		t.at, t.slot = atModel, nil
	}
	s.model.waiting = append(s.model.waiting, s.waiting...)
	s.waiting = nil
	m.queueOpen(s.model)
}

// unstageIfUnused gives a retiring model's host memory back once no device has
// it any more.
func (m *Manager) unstageIfUnused(mod *model) {
	if !mod.retiring || mod.phase != staged || mod.anySlot((*slot).open) {
		return
	}
	mod.phase = unstaging
	m.host.closing++
	m.host.order.Remove(mod.key)
	st, name := mod.staged, mod.Name
	m.engineCall(func(context.Context) func() {
		err := st.Close()
		return func() {
			if err != nil {
				m.log.Warn("host memory may not have been given back", "model", name, "error", err)
			}
			m.unstaged(mod)
		}
	})
}

func (m *Manager) unstaged(mod *model) {
	m.host.closing--
	m.host.used -= mod.hostBytes
	mod.phase, mod.staged, mod.hostBytes = onDisk, nil, 0
	m.retired(mod)
	for _, s := range mod.slots {
		s.dev.ledger.unstaged(s.residual)
		s.residual = 0
	}
	if len(mod.waiting) > 0 {
		m.queueOpen(mod)
	}
	m.dropIfGone(mod)
	m.mark(mod)
}
