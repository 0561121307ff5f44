package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// This file brings models onto devices; evict.go takes them off. All of it runs
// with the lock held, but for what is passed to engineCall.

// queueLoad makes a slot with tickets wait for bytes of its device. It may still
// be draining then: it is loaded when it has left.
func (m *Manager) queueLoad(s *slot) {
	if !s.queued && s.state != slotLoading {
		s.queued = true
		s.dev.loads.SetOpen(&s.want, true)
	}
}

func (m *Manager) unqueueLoad(s *slot) {
	s.queued = false
	s.dev.loads.SetOpen(&s.want, false)
	if s.dev.claim == s {
		s.dev.claim = nil
	}
}

// nextLoad is the slot that gets bytes of a device next, nil if none waits, and
// whether models in use have to give way for it.
func (m *Manager) nextLoad(d *device) (head *slot, pressing bool) {
	if d.claim != nil {
		return d.claim, true
	}
	now, spareHeavy := m.clock(), d.link.heavy > 0
	g, pressing := d.loads.Peek(now, spareHeavy)
	if g == nil {
		return nil, false
	}
	head = g.Owner.(*slot)
	if pressing || !d.busy() {
		return head, pressing
	}
	have := m.obtainable(d)
	if m.canLoad(head, have) {
		return head, false
	}
	// It waits for models in use, and is in no hurry: who needs less goes by.
	may := func(g *queue.Group) bool { return m.canLoad(g.Owner.(*slot), have) }
	if g = d.loads.PeekAmong(now, spareHeavy, may); g != nil {
		head = g.Owner.(*slot)
	}
	return head, false
}

// canLoad reports whether what a model waits for, if for anything, are not the bytes
// of models in use. have is what is obtainable without these.
func (m *Manager) canLoad(s *slot, have int64) bool {
	return s.need() <= have || s.open() || s.dev.link.full(s, m.cfg.Transfers) ||
		s.cost.Peak > s.dev.ledger.limit()-m.pinnedOn(s.dev, s)
}

// pumpDevice loads the models that wait for a device's bytes, in the order of the
// queue, and makes room for the first that has none.
func (m *Manager) pumpDevice(d *device) {
	for {
		need := int64(0) // without a waiter: only back below the budget
		head, pressing := m.nextLoad(d)
		if head != nil {
			if head.state == slotDraining && d.ledger.room() >= 0 {
				m.unqueueLoad(head)
				m.keep(head)
				continue
			}
			if head.open() {
				return // it is just leaving, and comes back as soon as it has left
			}
			if pinned := m.pinnedOn(d, head); head.cost.Peak > d.ledger.limit()-pinned {
				m.unqueueLoad(head)
				m.failSlot(head, deviceTooSmall(head, pinned))
				continue
			}
			if d.link.full(head, m.cfg.Transfers) {
				m.makeWay(d, head)
				head = nil
			} else {
				need = head.need()
			}
		}
		if short := need - d.ledger.room(); short > 0 {
			m.reclaim(d, short-m.leavingDevice(d), head, pressing || d.ledger.room() < 0)
			return
		}
		if head == nil || head.retried && d.closing > 0 {
			return
		}
		m.unqueueLoad(head)
		m.load(head)
	}
}

func deviceTooSmall(s *slot, pinned int64) error {
	name, d := s.model.Name, s.dev
	if s.cost.Peak > d.ledger.limit() {
		return fmt.Errorf("%s takes %d bytes on %s, the budget is %d less %d of the engine's own: %w",
			name, s.cost.Peak, d.ID, d.ledger.budget, d.ledger.overhead, ErrTooLarge)
	}
	return fmt.Errorf("%s takes %d bytes on %s, pinned models hold %d of %d: %w",
		name, s.cost.Peak, d.ID, pinned, d.ledger.limit(), engine.ErrNoMemory)
}

// load makes a staged model resident. Its bytes fit; they are counted from here
// on.
func (m *Manager) load(s *slot) {
	m.unforesee(s)
	d, need := s.dev, s.need()
	d.ledger.reserve(s.cost.Peak, s.residual)
	s.held, s.state, s.loadBegan = s.cost, slotLoading, time.Now()
	s.transfer = d.link.begin(s)
	if s.heavy() {
		d.work.Heavy++
	} else {
		d.work.Light++
	}
	m.mark(s.model)
	st, name := s.model.staged, s.model.Name
	look := s.loads == 0 || s.loadBegan.Sub(d.read) >= readEvery
	m.engineCall(func(ctx context.Context) func() {
		var read engine.Device
		var err error
		if look {
			read, err = readDevice(ctx, m.cfg.Engine, d.ID)
		}
		if look && err == nil && read.FreeBytes < need {
			err = &shortage{device: read, need: need}
		}
		var instance engine.Instance
		if err == nil {
			instance, err = st.Load(ctx, d.ID)
		}
		if err != nil {
			err = fmt.Errorf("load %s on %s: %w", name, d.ID, err)
			return func() { m.loadFailed(s, read, err) }
		}
		desc := m.describe(st)
		return func() { m.loaded(s, instance, read, desc) }
	})
}

// shortage: the driver has less than the budget says, because somebody else uses
// the device too.
type shortage struct {
	device engine.Device
	need   int64
}

func (e *shortage) Error() string {
	return fmt.Sprintf("the driver of %s has %d bytes left of the %d needed", e.device.ID, e.device.FreeBytes, e.need)
}

func (e *shortage) Unwrap() error { return engine.ErrNoMemory }

// readEvery is how often a device is read before models are loaded that were there
// before. Asking the driver takes longer than deciding, and that somebody else has
// taken the memory is seen in the next load that fails.
const readEvery = 50 * time.Millisecond

// update keeps what changes of a device; read is empty if it was not read.
func (d *device) update(read engine.Device) {
	if read.ID == d.ID {
		d.read = time.Now()
		d.ledger.overhead, d.KeptBytes = read.Overhead, read.KeptBytes
	}
}

func (m *Manager) loaded(s *slot, instance engine.Instance, read engine.Device, desc description) {
	d, mod, now := s.dev, s.model, time.Now()
	d.update(read)
	d.loss = failure{}
	m.learn(mod, desc)
	d.ledger.loaded(s.held.Peak, s.cost.Resident)
	s.held, s.residual = s.cost, 0
	s.state, s.instance, s.retried = slotResident, instance, false
	mod.stats.SwapNs += now.Sub(s.loadBegan).Nanoseconds()
	mod.stats.SwapBytes += s.cost.Resident
	s.swapped(d.link.end(s, now))
	s.countIdle()
	s.allowTurns()
	s.entry.Spare = s.spare()
	d.order.Add(mod.key, s.entry)
	s.repriceOthers()
	m.mark(mod)
	m.say(slog.LevelDebug, "model loaded", "model", mod.Name, "device", d.ID, "bytes", s.cost.Resident, "took", now.Sub(s.loadBegan))
	if s.cost.Resident > d.ledger.limit() { // the estimate was too low
		err := deviceTooSmall(s, 0)
		m.note(&s.failure, err)
		m.failSlot(s, err)
		m.drain(s)
		return
	}
	s.failure = failure{}
	for r := range s.want.All() {
		t := owner(r)
		t.swap = mod.workSince(t.arrived) + now.Sub(later(s.loadBegan, t.arrived))
	}
	m.leaseAll(s)
	if mod.retiring {
		m.drain(s)
	}
}

// leaseAll lets all that wait for a model have it.
func (m *Manager) leaseAll(s *slot) {
	for _, t := range byArrival(ticketsOf(&s.want)) {
		s.dev.loads.Remove(&t.Request)
		m.lease(s, t)
	}
	m.look(s.dev)
	m.dispatch(s.dev)
}

// workSince is how much of the last opening was after a point in time.
func (mod *model) workSince(since time.Time) time.Duration {
	return max(mod.openEnded.Sub(later(mod.openBegan, since)), 0)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (m *Manager) loadFailed(s *slot, read engine.Device, err error) {
	d, mod := s.dev, s.model
	d.update(read)
	d.ledger.abort(s.held.Peak, s.residual)
	d.link.end(s, time.Now())
	s.state, s.held = slotAbsent, engine.Cost{}
	forNobody := s.prefetched
	s.hasLeft()
	m.mark(mod)
	defer m.unstageIfUnused(mod)
	switch {
	case m.isClosing(err):
		m.failSlot(s, ErrClosed)
	case errors.Is(err, engine.ErrDeviceLost):
		m.failSlot(s, err)
		m.retire(mod)
		m.lose(d, err)
	case errors.Is(err, engine.ErrNoMemory) && !s.retried && s.want.Len() > 0 && m.makeRoom(d, err):
		m.say(slog.LevelInfo, "device memory is short, evicted idle models to try again", "model", mod.Name, "error", err)
		if mod.retiring {
			m.backToModel(s)
			return
		}
		s.retried = true
		m.queueLoad(s)
	case errors.Is(err, engine.ErrNoMemory) && forNobody:
		m.say(slog.LevelDebug, "no memory for a model that was expected", "model", mod.Name, "error", err)
	default:
		s.retried = false
		m.note(&s.failure, err)
		m.say(slog.LevelWarn, "model cannot be loaded", "model", mod.Name, "digest", mod.Digest, "device", d.ID,
			"retry_at", s.failure.retryAt, "error", err)
		m.failSlot(s, err)
	}
}

// makeRoom evicts idle models because the engine is short of memory: as many as are
// missing where that is known, else all. It reports whether anything leaves.
func (m *Manager) makeRoom(d *device, err error) bool {
	missing := int64(math.MaxInt64)
	if s := (*shortage)(nil); errors.As(err, &s) {
		missing = s.need - s.device.FreeBytes
	}
	m.evict(d, missing, (*slot).idle)
	return d.closing > 0
}
