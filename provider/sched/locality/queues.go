package locality

import (
	"slices"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// enqueue lets r wait in its line and lane, behind all that came before it. One
// that comes back has been passed over as often as the one behind it.
func (s *Scheduler) enqueue(r *request) {
	l := r.line
	r.stage, r.device, r.replica = queued, nil, nil
	l.queue.insert(r)
	l.lane.queue.insert(r)
	l.function.waiting++
	s.waiting++
	if l.slo > 0 {
		r.backlog = l.model.fastest
		l.lane.backlog += r.backlog
	}
	s.offer(l)
}

// withdraw takes a request out that waits and will not be served now.
func (s *Scheduler) withdraw(r *request) {
	if r.stage == bound {
		s.unbind(r)
	} else {
		s.unqueue(r, false)
	}
	r.line.function.waiting--
}

func (s *Scheduler) unqueue(r *request, served bool) {
	l := r.line
	wasNext := l.queue.first == r
	l.queue.remove(r)
	l.lane.take(r, served)
	s.waiting--
	if wasNext && r.late && l.queue.len > 0 {
		s.offer(l) // the next one may be due sooner than a late one
	}
}

func (s *Scheduler) unbind(r *request) {
	d := r.device
	d.bound.remove(r)
	d.work -= r.takes
	if d.bound.len == 0 {
		s.binders = slices.DeleteFunc(s.binders, func(o *device) bool { return o == d })
	}
	r.device = nil
	s.boundTo--
}

// offer tells all that may serve the line next that it has a request, or one
// that is older than before.
func (s *Scheduler) offer(l *line) {
	rank := s.rank(l)
	if s.byDue {
		l.lane.urgent.push(l, rank)
	}
	for i, word := range l.model.here {
		for word &= l.lane.mask[i]; word != 0; word &= word - 1 {
			s.devices[i*64+lowest(word)].hits.push(l, rank)
		}
	}
}

// rank of a line that is not empty.
func (s *Scheduler) rank(l *line) rank {
	r := l.queue.first
	if !s.byDue {
		return rank{seq: r.seq}
	}
	if l.slo > 0 && !r.late && s.now+l.model.fastest > r.due {
		// Serving it first would make others late for nothing.
		r.late, r.due = true, max(r.due, r.arrived+s.cfg.Patience)
	}
	return rank{r.due, r.seq}
}

// top is the request of the line that is first in the heap, nil if there is
// none. Lines that no longer belong there are dropped on the way.
func (s *Scheduler) top(h *lineHeap, belongs func(*line) bool) *request {
	for len(h.entries) > 0 {
		e := h.entries[0]
		if e.line.queue.len == 0 || belongs != nil && !belongs(e.line) {
			h.remove(e.line)
			continue
		}
		if now := s.rank(e.line); now != e.rank {
			h.delay(now)
			continue
		}
		return e.line.queue.first
	}
	return nil
}

// hit is the request that comes first of those whose model d has.
func (s *Scheduler) hit(d *device) *request {
	return s.top(&d.hits, func(l *line) bool {
		return l.model.here.has(d.index) && l.lane.mask.has(d.index)
	})
}

// oldest is the request that came first of those that d may serve.
func oldest(d *device) *request {
	var best *request
	for _, l := range d.lanes {
		if r := l.queue.first; r != nil && (best == nil || r.seq < best.seq) {
			best = r
		}
	}
	return best
}

// overdue is the oldest of those that d may serve and that must not be passed
// over again.
func (s *Scheduler) overdue(d *device) *request {
	var best *request
	for _, l := range d.lanes {
		if r := l.queue.first; r != nil && l.passes >= s.cfg.Limit && (best == nil || r.seq < best.seq) {
			best = r
		}
	}
	return best
}

// urgent is the request that is due first of those that d may serve.
func (s *Scheduler) urgent(d *device) *request {
	var best *request
	for _, l := range d.lanes {
		if r := s.top(&l.urgent, nil); r != nil && (best == nil || s.rank(r.line).before(s.rank(best.line))) {
			best = r
		}
	}
	return best
}

// bind lets r wait for d only.
func (s *Scheduler) bind(r *request, d *device) {
	s.unqueue(r, true)
	r.stage, r.device, r.takes = bound, d, d.takes(r.line.model)
	d.bound.push(r)
	d.work += r.takes
	if d.bound.len == 1 {
		s.binders = append(s.binders, d)
	}
	s.boundTo++
}

// dispatch gives r to d, which has room for it.
func (s *Scheduler) dispatch(r *request, d *device) {
	if s.cfg.Decided != nil {
		s.cfg.Decided(s.decision(r, d))
	}
	if r.stage == bound {
		s.unbind(r)
	} else {
		s.unqueue(r, true)
	}
	f, m := r.line.function, r.line.model
	f.waiting--
	s.leaveRoom(d)
	missing := ""
	if !m.here.has(d.index) {
		missing = m.name
	}
	r.stage, r.device, r.takes = held, d, d.takes(m)
	r.ready = s.fetch(m, d)
	d.freeAt = max(s.now, d.freeAt, r.ready) + r.takes
	d.held = append(d.held, r)
	s.enterRoom(d)

	r.replica = f.on(d.Node)
	r.replica.inFlight++
	s.actions = append(s.actions, sched.Action{
		Kind: sched.Dispatch, ID: r.id, Function: f.name, Replica: r.replica.ID, Device: d.ID, Model: missing,
	})
	s.crowd(f, r.replica)
}

// crowd looks again where f can be served, if r has just become full or has just
// been full.
func (s *Scheduler) crowd(f *function, r *replica) {
	if r.Capacity > 0 && r.inFlight >= r.Capacity-1 && !f.gone {
		s.relane(f)
	}
}

// release takes a held request off its device and its replica.
func (s *Scheduler) release(r *request, handled bool) {
	s.leaveDevice(r, handled)
	f, served := r.line.function, r.replica
	r.replica = nil
	served.inFlight--
	s.crowd(f, served)
}

// leaveDevice takes a held request off its device, unless it has left. If nothing
// of it was handled, a model that was fetched for it alone is not expected to come.
func (s *Scheduler) leaveDevice(r *request, handled bool) {
	d, m := r.device, r.line.model
	r.device = nil
	if d == nil || d.gone {
		return
	}
	s.leaveRoom(d)
	for i, h := range d.held {
		if h == r {
			d.held = append(d.held[:i], d.held[i+1:]...)
			break
		}
	}
	s.enterRoom(d)
	if handled {
		s.arrived(m, d)
	} else if m.coming.has(d.index) && !holds(d.held, m) {
		s.unsetHere(m, d)
	}
	d.freeAt = d.expect(s.now)
}

// leaveRoom and enterRoom stand around every change of what d holds.
func (s *Scheduler) leaveRoom(d *device) {
	if n := len(d.held); n < d.credits {
		s.room[n] = slices.DeleteFunc(s.room[n], func(o *device) bool { return o == d })
	}
}

func (s *Scheduler) enterRoom(d *device) {
	s.ticks++
	d.since = s.ticks
	if n := len(d.held); n < d.credits {
		s.room[n] = append(s.room[n], d)
	}
}
