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
	best := s.cheapest(r.line)
	if best.device != d && !s.hasRoom(best.device, r.line.model) {
		s.bind(r, best.device)
		return true
	}
	return s.give(r, best.device)
}

// cheapest is the best quote of all devices that may serve l; among equals that
// of the device that has had room longest.
func (s *Scheduler) cheapest(l *line) quote {
	best := s.price(l.model, l.lane.devices[0])
	for _, d := range l.lane.devices[1:] {
		q := s.price(l.model, d)
		if q.total() < best.total() || q.total() == best.total() && longest(d, best.device) {
			best = q
		}
	}
	return best
}

func (swap) choose(s *Scheduler, l *line) (*device, string) {
	q := s.cheapest(l)
	if !s.hasRoom(q.device, l.model) {
		return q.device, "it is the cheapest; a request would wait for it until it has room"
	}
	return q.device, "it is the cheapest"
}
