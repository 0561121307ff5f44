package locality

import (
	"math"
	"time"
)

// schedule lets every device with room take what the policy gives it, until there
// is nothing more to take: what one device takes can change what another one may.
func (s *Scheduler) schedule() {
	for s.waiting+s.boundTo > 0 && s.round() {
	}
}

// round asks each device with room: those that hold the fewest requests first,
// among them those that have had room longest. It reports whether one took
// anything.
func (s *Scheduler) round() (took bool) {
	s.order = s.order[:0]
	for _, devices := range s.room {
		s.order = append(s.order, devices...)
	}
	for _, d := range s.order {
		for len(d.held) < d.credits && s.policy.serve(s, d) {
			took = true
		}
		if s.waiting+s.boundTo == 0 {
			return false
		}
	}
	return took
}

// longest reports whether a comes before b in the order of schedule.
func longest(a, b *device) bool {
	return len(a.held) < len(b.held) || len(a.held) == len(b.held) && a.since < b.since
}

// hasRoom reports whether d may be given a request for m now.
func (s *Scheduler) hasRoom(d *device, m *model) bool {
	return len(d.held) < d.credits && d.fits(m)
}

// place finds a device for r, which d may serve, by the policy of its function.
func (s *Scheduler) place(r *request, d *device) bool {
	return r != nil && r.line.function.place.place(s, r, d)
}

// give dispatches r to d if its model has room beside those in use there.
func (s *Scheduler) give(r *request, d *device) bool {
	if r == nil || !d.fits(r.line.model) {
		return false
	}
	s.dispatch(r, d)
	return true
}

// quote is what a request would cost on a device. A request waits for what the
// device has to do already, while its model is fetched, and is computed once both
// are over.
type quote struct {
	device  *device
	wait    time.Duration
	fetch   time.Duration
	compute time.Duration
	toll    time.Duration // see price
}

func (q quote) total() time.Duration { return max(q.wait, q.fetch) + q.compute + q.toll }

// price says what a request for m would cost on d.
//
// The toll is what others pay. While d stands still because it waits for the
// model, it serves nobody: that time is charged once for each other request that
// waits per device. And if d is full, what leaves for the model may have to be
// fetched again: half of the fetch is charged for that. So with an empty queue
// and room for it a copy of a model is made wherever it answers soonest; the
// longer the queue and the fuller the device, the more a copy has to save.
func (s *Scheduler) price(m *model, d *device) quote {
	p := &m.prices[d.class]
	q := quote{device: d, wait: d.free(s.now) - s.now, compute: p.compute}
	if m.here.has(d.index) {
		q.fetch = s.arrival(m, d) - s.now
	} else {
		q.fetch = max(s.load(m, d), d.way.freeAt-s.now) + p.swap
		if d.used+m.bytes > d.Budget {
			q.toll = q.fetch / 2
		}
	}
	if still := q.fetch - q.wait; still > 0 {
		q.toll += still * time.Duration(max(0, s.waiting-1)) / time.Duration(len(s.devices))
	}
	return q
}

// soonest is how soon a request of l could be answered: on the best device, after
// the requests that wait and have an SLO, too.
func (s *Scheduler) soonest(l *line) time.Duration {
	best := time.Duration(math.MaxInt64)
	for _, d := range l.lane.devices {
		q := s.price(l.model, d)
		best = min(best, max(q.wait, q.fetch)+q.compute)
	}
	if len(l.lane.devices) == 0 {
		return 0 // nobody knows
	}
	return best + l.lane.backlog/time.Duration(len(l.lane.devices))
}
