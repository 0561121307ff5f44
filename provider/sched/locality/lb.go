package locality

// lb gives the request that came first to the device that has had room longest,
// wherever its model is.
type lb struct{}

func (lb) serve(s *Scheduler, d *device) bool {
	if r := d.bound.first; r != nil { // of a function with another policy
		return s.give(r, d)
	}
	return s.place(oldest(d), d)
}

func (lb) place(s *Scheduler, r *request, d *device) bool { return s.give(r, d) }

func (lb) choose(s *Scheduler, l *line) (*device, string) {
	d := s.nextFree(l)
	if d == nil {
		return nil, "every device is busy; the first that is free takes the request that came first"
	}
	return d, "it has had room longest; where the model is does not matter"
}

// nextFree is the device that has had room longest of those that may serve l.
func (s *Scheduler) nextFree(l *line) *device {
	var best *device
	for _, d := range l.lane.devices {
		if s.hasRoom(d, l.model) && (best == nil || longest(d, best)) {
			best = d
		}
	}
	return best
}
