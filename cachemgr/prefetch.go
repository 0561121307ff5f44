package cachemgr

import (
	"container/heap"
	"time"
)

// This file brings models back before they are asked for, where arrival.Gaps can
// tell when that will be. Only what is staged is brought, when nobody waits for a
// model and the link is free, into bytes that are free or that idle models hold
// which are clearly worth less. All of it runs with the lock held.

// clearly is by how much a model has to be worth more than one that leaves for it.
const clearly = 2

// forecast has the slots that will be prefetched, the next one on top. It
// implements heap.Interface.
type forecast []*slot

func (f forecast) Len() int           { return len(f) }
func (f forecast) Less(i, j int) bool { return f[i].prefetchAt < f[j].prefetchAt }
func (f forecast) Swap(i, j int) {
	f[i], f[j] = f[j], f[i]
	f[i].foreseen, f[j].foreseen = i, j
}

// Push implements heap.Interface.
func (f *forecast) Push(x any) {
	s := x.(*slot)
	s.foreseen = len(*f)
	*f = append(*f, s)
}

// Pop implements heap.Interface.
func (f *forecast) Pop() any {
	last := len(*f) - 1
	s := (*f)[last]
	(*f)[last] = nil
	*f = (*f)[:last]
	s.foreseen = -1
	return s
}

// foresee plans to prefetch a model that has just left a device, so that it is back
// when the window begins in which it is expected.
func (m *Manager) foresee(s *slot) {
	from, _, ok := s.model.gaps.Next()
	if !ok || m.cfg.NoPrefetch || m.closed {
		return
	}
	at := from - s.swap.value
	if at <= m.clock() {
		return // it had to leave although it was expected: others were worth more
	}
	s.prefetchAt = at
	heap.Push(&m.forecast, s)
	m.alarm()
}

// unforesee drops that plan: the model is on its way.
func (m *Manager) unforesee(s *slot) {
	if s.foreseen >= 0 {
		heap.Remove(&m.forecast, s.foreseen)
	}
}

// alarm sets the clock to the next plan.
func (m *Manager) alarm() {
	if len(m.forecast) == 0 {
		return
	}
	in := m.forecast[0].prefetchAt - m.clock()
	if m.wake == nil {
		m.wake = time.AfterFunc(in, m.prefetchDue)
	} else {
		m.wake.Reset(in)
	}
}

// prefetchDue looks at the plans whose time has come.
func (m *Manager) prefetchDue() {
	m.mu.Lock()
	defer m.unlock()
	if m.closed {
		return
	}
	for now := m.clock(); len(m.forecast) > 0 && m.forecast[0].prefetchAt <= now; {
		m.prefetch(heap.Pop(&m.forecast).(*slot))
	}
	m.alarm()
}

// prefetch loads a model that nobody waits for, or makes room for it; then evicted
// calls again.
func (m *Manager) prefetch(s *slot) {
	d := s.dev
	if !m.mayPrefetch(s) {
		return
	}
	short := s.need() - d.ledger.room()
	if short <= 0 {
		s.prefetched = true
		d.work.Prefetched++
		m.load(s)
		return
	}
	if short -= m.leavingDevice(d); short <= 0 || m.giveWay(s, short) {
		d.expected = s
	}
}

// mayPrefetch: the model can be brought, and is in nobody's way.
func (m *Manager) mayPrefetch(s *slot) bool {
	mod, d := s.model, s.dev
	now := time.Now()
	return !m.closed && mod.phase == staged && !mod.retiring && !mod.gone && !mod.anySlot((*slot).open) &&
		!s.failure.holds(now) && !d.loss.holds(now) &&
		d.loads.Len() == 0 && !d.link.full(s, m.cfg.Transfers) && s.cost.Peak <= d.ledger.limit()-m.pinnedOn(d, s)
}

// giveWay lets idle models leave that are clearly worth less than one that is
// expected, unless these do not suffice.
func (m *Manager) giveWay(s *slot, short int64) bool {
	now := m.clock()
	worth := s.worth(now)
	var victims []*slot
	for key := range s.dev.order.Victims() {
		if short <= 0 {
			break
		}
		v := m.entries[key].slots[s.dev.index]
		if v.model.pinned || !v.idle() {
			continue
		}
		if v.worth(now)*clearly >= worth {
			return false
		}
		short -= v.held.Resident - v.held.Residual
		victims = append(victims, v)
	}
	if short > 0 {
		return false
	}
	for _, v := range victims {
		m.drain(v)
	}
	return true
}

// worth is what a byte of a model saves a second: the time of a swap, as often as
// it is expected to be asked for.
func (s *slot) worth(now time.Duration) float64 {
	return float64(max(s.swap.value, 1)) / float64(max(s.cost.Resident, 1)) / s.model.gaps.Wait(now).Seconds()
}

// wasUsed tells of a request for a model: if that was prefetched, it was of use.
func (s *slot) wasUsed() {
	if s.prefetched {
		s.prefetched = false
		s.dev.work.Useful++
	}
}

// hasLeft tells that a model is not on its device: if it was prefetched and not
// used, that was in vain.
func (s *slot) hasLeft() {
	if s.prefetched {
		s.prefetched = false
		s.dev.work.Wasted++
	}
}
