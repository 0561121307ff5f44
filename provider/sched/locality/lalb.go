package locality

import (
	"fmt"
	"time"
)

// lalb serves, on a device with room, what is bound to it; else the oldest
// request that has the model here; but a request that was passed over Limit times
// comes before that, and the oldest comes when there is no other: place finds a
// device for these. Limit 0 makes that the order of arrival.
type lalb struct{}

func (lalb) serve(s *Scheduler, d *device) bool {
	if r := d.bound.first; r != nil {
		return s.give(r, d)
	}
	if r := s.overdue(d); r != nil {
		return s.place(r, d)
	}
	if r := s.hit(d); r != nil {
		return s.give(r, d)
	}
	return s.place(oldest(d), d)
}

// place gives r to a device with room that has the model; else binds it to the
// one of those without room that is done soonest, if that is sooner than d could
// load the model; else gives it to d.
func (lalb) place(s *Scheduler, r *request, d *device) bool {
	h := s.holders(r.line)
	switch {
	case h.room != nil:
		return s.give(r, h.room)
	case h.busy != nil && h.busy != d && h.busy.free(s.now)-s.now < s.loadTime(r.line.model, d):
		s.bind(r, h.busy)
		return true
	}
	return s.give(r, d)
}

// loadTime is how long d takes to load m with nothing else going on.
func (s *Scheduler) loadTime(m *model, d *device) time.Duration {
	return s.load(m, d) + m.prices[d.class].swap
}

// holders are the best of the devices that have the model of a line.
type holders struct {
	room *device // has had room longest
	busy *device // has none and is done soonest
}

func (s *Scheduler) holders(l *line) (best holders) {
	for i, word := range l.model.here {
		for word &= l.lane.mask[i]; word != 0; word &= word - 1 {
			d := s.devices[i*64+lowest(word)]
			switch {
			case s.hasRoom(d, l.model):
				if best.room == nil || longest(d, best.room) {
					best.room = d
				}
			case best.busy == nil || s.sooner(d, best.busy):
				best.busy = d
			}
		}
	}
	return best
}

// sooner reports whether a is done before b; of equals, the one that has waited
// longest for a change.
func (s *Scheduler) sooner(a, b *device) bool {
	fa, fb := a.free(s.now), b.free(s.now)
	return fa < fb || fa == fb && a.since < b.since
}

func (lalb) choose(s *Scheduler, l *line) (*device, string) {
	d := s.nextFree(l)
	if d == nil {
		return nil, "every device is busy; the first that is free decides"
	}
	h := s.holders(l)
	if h.room != nil {
		return h.room, "it has room and the model"
	}
	if h.busy == nil {
		return d, "no device has the model; this one has had room longest"
	}
	wait, load := h.busy.free(s.now)-s.now, s.loadTime(l.model, d)
	if h.busy != d && wait < load {
		return h.busy, fmt.Sprintf("it has the model and is free in %v; loading it elsewhere takes %v", ms(wait), ms(load))
	}
	return d, fmt.Sprintf("it has had room longest, and loading the model takes %v; %s, which has it, is busy for %v",
		ms(load), h.busy.ID, ms(wait))
}

// ms rounds for people.
func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
