package cachemgr

import (
	"context"
	"errors"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Infer runs one request. It waits for the model to be resident and for its turn
// on the device; ctx ends the wait and the run.
//
// Errors: ErrUnknownModel, ErrOverloaded, ErrTooLarge, ErrFailed, ErrClosed,
// those of package engine, and ctx's.
func (m *Manager) Infer(ctx context.Context, r Request) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	now := time.Now()
	if r.Arrived.IsZero() {
		r.Arrived = now
	}
	m.mu.Lock()
	c := m.clientOf(&r)
	mod, d, err := m.admit(r.Digest, r.Device, now)
	if err != nil {
		m.count(c, err)
		m.mu.Unlock()
		return Result{}, err
	}
	s := mod.slots[d.index]
	res := Result{Outcome: s.outcome(r.Arrived), Engine: m.cfg.Engine.Name()}
	if s.state == slotResident && d.running < m.cfg.Concurrency && s.mayRun() && !m.waitsForOthers(&r) {
		// Whoever waits on the device cannot run now: dispatch has seen to it.
		s.leases++
		s.countIdle()
		m.begin(s)
		m.calls++
		m.used(mod, d, res.Outcome, now)
		m.mu.Unlock()
		return m.run(ctx, s, r, c, res)
	}
	t := m.newTicket(mod, toRun, r.Device, now)
	ask := r // on the heap, and only where it waits
	t.of(c, &ask)
	if err = m.enqueue(t, d); err == nil {
		m.used(mod, d, res.Outcome, now)
	} else {
		m.count(c, err)
	}
	m.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	if err := m.wait(ctx, t, m.cfg.QueueTimeout); err != nil {
		return Result{}, err
	}
	res.Swap = t.swap
	if b := t.batch; b != nil {
		res.Device, res.Compute, res.Batch, res.Lead = b.slot.dev.ID, b.took, len(b.members), t.lead
		res.Queue = max(time.Since(now)-t.swap-b.took, 0)
		b.take(t, r.Out)
		return res, nil
	}
	res.Queue = max(time.Since(now)-t.swap, 0)
	res, err = m.run(ctx, t.slot, r, c, res)
	if t.former != nil {
		m.ranAlone(t, err)
	}
	return res, err
}

// outcome says where a request that came at a time found its model.
func (s *slot) outcome(arrived time.Time) string {
	mod := s.model
	switch {
	case mod.phase != staged || mod.retiring || mod.openEnded.After(arrived):
		return api.CacheLoad
	case s.state == slotResident:
		return api.CacheHit
	default:
		return api.CacheSwap
	}
}

// used counts a request that was admitted.
func (m *Manager) used(mod *model, d *device, outcome string, now time.Time) {
	switch outcome {
	case api.CacheHit:
		mod.stats.Hits++
	case api.CacheSwap:
		mod.stats.Swaps++
	default:
		mod.stats.Loads++
	}
	mod.lastUsed = now
	mod.gaps.Seen(now.Sub(m.began))
	mod.slots[d.index].wasUsed()
	d.order.Touch(mod.key)
	m.host.order.Touch(mod.key)
	m.mark(mod)
}

// errPanicked is what a request counts as whose engine panicked; the panic goes
// on to the caller, the lease does not stay behind.
var errPanicked = errors.New("the engine panicked")

// run computes. The caller has a lease and its turn; both end here.
func (m *Manager) run(ctx context.Context, s *slot, r Request, c client, res Result) (Result, error) {
	res.Device, res.Batch, res.Lead = s.dev.ID, 1, true
	err := errPanicked
	defer func() {
		m.mu.Lock()
		defer m.unlock()
		m.end(s, res.Compute, err)
		m.count(c, err)
	}()
	res.Compute, err = m.compute(ctx, s.instance, r)
	return res, err
}

// end gives a turn and its lease back.
func (m *Manager) end(s *slot, took time.Duration, err error) {
	d, mod := s.dev, s.model
	m.endTurn(s)
	m.calls--
	mod.stats.ComputeNs += took.Nanoseconds()
	if err != nil {
		mod.stats.Failures++
	} else {
		s.ran(took, 1)
	}
	m.release(s)
	if errors.Is(err, engine.ErrDeviceLost) {
		m.lose(d, err)
		m.pump()
	}
	m.goOn(d)
	m.mark(mod)
}

// goOn lets others have what a run has given back: its turn, and the bytes of its
// model, if that is idle now.
func (m *Manager) goOn(d *device) {
	m.dispatch(d)
	if d.loads.Len() > 0 {
		m.pumpDevice(d)
	}
}

// Load makes a model resident and returns when it is, or with the reason why
// not. device is a hint. It waits for as long as ctx lets it.
func (m *Manager) Load(ctx context.Context, digest string, device engine.DeviceID) error {
	now := time.Now()
	m.mu.Lock()
	mod, d, err := m.admit(digest, device, now)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	if s := mod.slots[d.index]; s.state == slotResident {
		d.order.Touch(mod.key)
		m.host.order.Touch(mod.key)
		m.mu.Unlock()
		return nil
	}
	t := m.newTicket(mod, toLoad, device, now)
	err = m.enqueue(t, d)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.wait(ctx, t, 0)
}

// Ready says why a request for a model would be refused now, nil if it would be
// tried. A model of which nothing is known yet is one that would.
func (m *Manager) Ready(digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, err := m.admit(digest, "", time.Now())
	return err
}

// Spec describes a model. What is not known yet is found by staging the model,
// and for a file that says nothing before it was loaded, by loading it.
func (m *Manager) Spec(ctx context.Context, digest string) (engine.Spec, error) {
	spec, t, err := m.knownSpec(digest)
	if err == nil && t != nil {
		if err = m.wait(ctx, t, m.cfg.QueueTimeout); err == nil {
			spec, _, err = m.knownSpec(digest)
		}
	}
	if err != nil || spec.Known {
		return spec, err
	}
	if err := m.Load(ctx, digest, ""); err != nil {
		return engine.Spec{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mod, err := m.find(digest)
	if err != nil {
		return engine.Spec{}, err
	}
	return mod.spec, nil
}

// knownSpec returns a model's spec, or a ticket for it to be staged first.
func (m *Manager) knownSpec(digest string) (engine.Spec, *ticket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod, err := m.find(digest)
	if err != nil {
		return engine.Spec{}, nil, err
	}
	if mod.spec.Known || mod.phase == staged {
		return mod.spec, nil, nil
	}
	if err := m.refuseOpen(mod, time.Now()); err != nil {
		return engine.Spec{}, nil, err
	}
	t := m.newTicket(mod, toDescribe, "", time.Now())
	return engine.Spec{}, t, m.enqueue(t, nil)
}
