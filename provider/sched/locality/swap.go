package locality

// swap serves, on a device with room, what is bound to it; then a request that
// was passed over Limit times; then the one due first of those that have the
// model here; then the one due first of all. The two that may have the model
// elsewhere, or nowhere, go to the cheapest of all devices, and are bound to it if
// it has no room yet.
type swap struct{}

func (swap) serve(s *Scheduler, d *device) bool {
	if r := d.bound.first; r != nil {
		return s.give(r, d)
	}
	r := s.overdue(d)
	if r == nil {
		if r := s.hit(d); r != nil {
			return s.give(r, d)
		}
		r = s.urgent(d)
	}
	if r == nil {
		return false
	}
	best := s.cheapest(r.line, d)
	if best.device != d && !s.hasRoom(best.device, r.line.model) {
		s.bind(r, best.device)
		return true
	}
	return s.give(r, best.device)
}

// cheapest is the best quote of the devices that l may go to: those with room, and
// those that have the model. Of a device with neither nobody knows what it will
// have when its turn comes. Among equals the one that has had room longest is
// taken. There always is one: d, which has room.
func (s *Scheduler) cheapest(l *line, d *device) quote {
	best := s.price(l.model, d)
	for _, o := range l.lane.devices {
		if o == d || len(o.held) >= s.cfg.Credits && !l.model.here.has(o.index) {
			continue
		}
		q := s.price(l.model, o)
		if q.total() < best.total() || q.total() == best.total() && longest(o, best.device) {
			best = q
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
