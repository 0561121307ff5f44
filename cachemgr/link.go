package cachemgr

import "time"

// link is what carries models to a device: one after the other, so that of two that
// are on their way the second is copied when the first has arrived.
type link struct {
	transfers int // that go on, of models that have been there before
	heavy     int // those of them that computing does not hide
	lastEnd   time.Time
}

// transfer is a load as its link counts it.
type transfer struct{ counted, heavy bool }

// full reports whether a model has to wait for the link.
func (l *link) full(s *slot, most int) bool { return s.swap.n > 0 && l.transfers >= most }

// begin counts a load. What it returns goes to end.
func (l *link) begin(s *slot) transfer {
	t := transfer{counted: s.swap.n > 0, heavy: s.heavy()}
	if t.counted {
		l.transfers++
	}
	if t.heavy {
		l.heavy++
	}
	return t
}

// end returns how long a load took since the link was free for it.
func (l *link) end(s *slot, now time.Time) time.Duration {
	if s.transfer.counted {
		l.transfers--
	}
	if s.transfer.heavy {
		l.heavy--
	}
	took := now.Sub(s.loadBegan)
	if s.transfer.counted {
		took = now.Sub(later(s.loadBegan, l.lastEnd))
	}
	s.transfer, l.lastEnd = transfer{}, now
	return took
}

// mean follows a duration that changes slowly.
type mean struct {
	value time.Duration
	n     int // measurements
}

func (m *mean) add(d time.Duration) {
	m.n++
	m.value += (d - m.value) / time.Duration(min(m.n, 8))
}

// heavy: the model's swap takes longer than its computing, which thus does not hide
// the swap of the next one. Unknown is light.
func (s *slot) heavy() bool {
	return s.swap.n > 0 && s.compute.n > 0 && s.swap.value > s.compute.value
}

// spare: the device can do without the model more easily than without others,
// because computing hides its swap, or another device has it.
func (s *slot) spare() bool {
	return !s.heavy() || s.model.anySlot(func(other *slot) bool {
		return other != s && other.state == slotResident
	})
}

// swapped learns from a load that has succeeded. The first one made more than a
// copy: it counts only until there is a better one.
func (s *slot) swapped(took time.Duration) {
	if s.loads++; s.loads == 2 {
		s.swap = mean{}
	}
	s.swap.add(took)
	s.entry.Size, s.entry.Cost = s.cost.Resident, s.swap.value
	s.dev.loads.SetHeavy(&s.want, s.heavy())
}

// ran learns from a run that has succeeded, of some requests at once.
func (s *slot) ran(took time.Duration, requests int) {
	s.runs += int64(requests)
	s.computed += took
	was := s.heavy()
	s.compute.add(took)
	if is := s.heavy(); is != was {
		s.dev.loads.SetHeavy(&s.want, is)
		s.reprice()
	}
}

// reprice tells the order of eviction of what has changed in a model that is
// resident.
func (s *slot) reprice() {
	if spare := s.spare(); s.state == slotResident && s.entry.Spare != spare {
		s.entry.Spare = spare
		s.dev.order.Update(s.model.key, s.entry)
	}
}

// repriceOthers does so for the model on other devices, when it has come to one or
// left it.
func (s *slot) repriceOthers() {
	for _, other := range s.model.slots {
		if other != s {
			other.reprice()
		}
	}
}
