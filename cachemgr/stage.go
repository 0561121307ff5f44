package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// This file brings models into host memory; unstage.go takes them out. All of it
// runs with the lock held, but for what is passed to engineCall.

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
	mod.spec, mod.rowsApart, mod.hostCost = d.spec, rowsApart(d.spec), 0
	for i, s := range mod.slots {
		s.cost, s.known = d.costs[i], true
		mod.hostCost = max(mod.hostCost, s.cost.Host)
	}
	m.host.used += mod.hostCost - mod.hostBytes
	mod.hostBytes = mod.hostCost
	if mod.pinned && m.checkPins() != nil {
		m.unpin(mod)
		m.say(slog.LevelWarn, "no longer pinned: larger than it was said to be", "model", mod.Name, "bytes", mod.deviceBytes())
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
		m.say(slog.LevelInfo, "host memory is short, evicted idle models to try again", "model", mod.Name, "error", err)
		mod.retried, mod.queued = true, true
		m.host.waiting = slices.Insert(m.host.waiting, 0, mod)
		return
	}
	mod.retried = false
	m.note(&mod.failure, err)
	m.say(slog.LevelWarn, "model cannot be opened", "model", mod.Name, "digest", mod.Digest, "retry_at", mod.failure.retryAt, "error", err)
	m.failWaiting(mod, err)
}
