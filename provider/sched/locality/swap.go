package locality

// swap serves, on a device with room, what is bound to it; then a request that
// was passed over Limit times; then the one due first of those that have the
// model here; then the one due first of all. The two that may have the model
// elsewhere, or nowhere, go to the cheapest of all devices, and are bound to it if
// it has no room yet. A device that is left without work takes over what is bound
// to another one, if that is cheaper.
type swap struct{}

func (swap) serve(s *Scheduler, d *device) bool {
	if r := d.bound.first; r != nil {
		return s.give(r, d)
	}
	if s.waiting == 0 {
		return s.give(s.takeOver(d), d)
	}
	r := s.overdue(d)
	if r == nil {
		if r := s.hit(d); r != nil {
			return s.give(r, d)
		}
		r = s.urgent(d)
	}
	if r == nil {
		return s.give(s.takeOver(d), d)
	}
	return s.place(r, d)
}

// place gives r to the cheapest device, or binds it to that one.
func (swap) place(s *Scheduler, r *request, d *device) bool {
	best := s.cheapest(r.line, d)
	if best.device == d || s.hasRoom(best.device, r.line.model) {
		return s.give(r, best.device)
	}
	if s.binds < maxBinds {
		s.binds++
		s.bind(r, best.device)
		return true
	}
	if h := s.hit(d); h != nil && s.byDue { // the other policies keep to their order
		r = h
	}
	return s.give(r, d)
}

// maxBinds is how many requests are bound in one event at most. With thousands
// waiting, the heads of many queues may all belong elsewhere; a device does not
// look through all of them while it stands still.
const maxBinds = 4

// cheapest is the best quote of the devices that l may go to: those with room, and
// those that have the model. Of a device with neither nobody knows what it will
// have when its turn comes. Among equals the one that has had room longest is
// taken. There always is one: d, which has room.
func (s *Scheduler) cheapest(l *line, d *device) quote {
	m := l.model
	best := s.price(m, d)
	for i, word := range m.here {
		for word &= l.lane.mask[i]; word != 0; word &= word - 1 {
			best = cheaper(best, s.price(m, s.devices[i*64+lowest(word)]))
		}
	}
	if best.total() < m.leastMiss {
		return best // no device that has to fetch it can do better
	}
	for _, devices := range s.room {
		for _, o := range devices {
			if l.lane.mask.has(o.index) && !m.here.has(o.index) {
				best = cheaper(best, s.price(m, o))
			}
		}
	}
	return best
}

func cheaper(a, b quote) quote {
	if b.total() < a.total() || b.total() == a.total() && longest(b.device, a.device) {
		return b
	}
	return a
}

// takeOver is the request bound to another device that gains most if d, which has
// nothing else to do, serves it; nil if none does. What was cheapest when it was
// bound need not be so for ever.
func (s *Scheduler) takeOver(d *device) *request {
	var best *request
	var most instant
	free := d.free(s.now)
	for _, b := range s.binders {
		done := max(s.now, b.freeAt)
		for r := b.bound.first; r != nil; r = r.links[inLane].next {
			done += r.takes
			m := r.line.model
			// Most are found to gain nothing without looking closer.
			if !m.here.has(d.index) && done-s.now <= m.leastMiss || done <= free+m.fastest {
				continue
			}
			if !r.line.lane.mask.has(d.index) || !d.fits(m) {
				continue
			}
			gain := done - s.now - s.price(m, d).total()
			if gain > most || gain == most && best != nil && r.seq < best.seq {
				best, most = r, gain
			}
		}
	}
	return best
}

func (swap) choose(s *Scheduler, l *line) (*device, string) {
	d := s.nextFree(l)
	if d == nil {
		return nil, "every device is busy; the first that is free takes a request it has the model for, or the one due first"
	}
	q := s.cheapest(l, d)
	if !s.hasRoom(q.device, l.model) {
		return q.device, "it is the cheapest; a request would wait for it until it has room"
	}
	return q.device, "it is the cheapest"
}
