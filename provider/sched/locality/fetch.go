package locality

// fetch starts to bring m to d if it is not there, and says when it will be.
func (s *Scheduler) fetch(m *model, d *device) instant {
	if m.here.has(d.index) {
		return s.arrival(m, d)
	}
	w, p := d.way, m.prices[d.class]
	through := max(s.now+s.load(m, d), w.freeAt) + p.swap
	w.freeAt = through
	w.fetching++
	m.coming.add(d.index)
	m.staged.add(d.node.index)
	s.setHere(m, d)
	return through
}

// arrival is when m, which d has or will have, is there.
func (s *Scheduler) arrival(m *model, d *device) instant {
	if m.coming.has(d.index) {
		for _, h := range d.held {
			if h.line.model == m {
				return max(s.now, h.ready)
			}
		}
	}
	return s.now
}

// load is how long it takes to bring m from disk to the node of d.
func (s *Scheduler) load(m *model, d *device) instant {
	if m.staged.has(d.node.index) {
		return 0
	}
	return m.prices[d.class].load
}

// arrived notes that m is on d, whatever was expected.
func (s *Scheduler) arrived(m *model, d *device) {
	if !m.coming.has(d.index) {
		return
	}
	m.coming.remove(d.index)
	s.fetched(d)
}

// fetched ends one fetch over the way to d.
func (s *Scheduler) fetched(d *device) {
	d.way.fetching--
	if d.way.fetching == 0 {
		d.way.freeAt = s.now
	}
}

// setHere notes that d has m, or will.
func (s *Scheduler) setHere(m *model, d *device) {
	if m.here.has(d.index) {
		return
	}
	m.here.add(d.index)
	d.used += m.bytes
	for _, l := range m.lines {
		if l.queue.len > 0 && l.lane.mask.has(d.index) {
			d.hits.push(l, s.rank(l))
		}
	}
}

// unsetHere notes that d does not have m.
func (s *Scheduler) unsetHere(m *model, d *device) {
	if m.coming.has(d.index) {
		m.coming.remove(d.index)
		s.fetched(d)
	}
	if m.here.has(d.index) {
		m.here.remove(d.index)
		d.used -= m.bytes
	}
}
