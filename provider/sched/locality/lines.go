package locality

import (
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// places of a line in heaps that it is in none of.
func (s *Scheduler) places() []int32 {
	at := make([]int32, len(s.devices)+1)
	for i := range at {
		at[i] = -1
	}
	return at
}

// line is the one for the requests of f with that model and SLO.
func (s *Scheduler) line(f *function, m *model, slo time.Duration) *line {
	for _, l := range f.lines {
		if l.model == m && l.slo == slo {
			return l
		}
	}
	l := &line{function: f, model: m, slo: slo, at: s.places(), queue: queue{which: inLine}}
	l.lane = s.laneOf(l)
	l.lane.lines++
	f.lines = append(f.lines, l)
	m.lines = append(m.lines, l)
	return l
}

// could reports whether d is big enough for the model of l, and known to run it.
func (s *Scheduler) could(l *line, d *device) bool {
	return l.function.place != nil && l.model.bytes <= d.Budget && l.model.prices[d.class].known && !s.fails(l.model, d)
}

// served reports whether there is a device for l, though all replicas on its node
// may be full now.
func (s *Scheduler) served(l *line) bool {
	return len(l.lane.devices) > 0 || slices.ContainsFunc(s.devices, func(d *device) bool {
		return s.could(l, d) && l.function.livesOn(d.Node)
	})
}

// laneOf is the lane of the devices that may serve l, on the node of a replica
// that may have one more request.
func (s *Scheduler) laneOf(l *line) *lane {
	mask := newBitset(len(s.devices))
	var devices []*device
	for _, d := range s.devices {
		if s.could(l, d) && l.function.on(d.Node) != nil {
			mask.add(d.index)
			devices = append(devices, d)
		}
	}
	key := make([]byte, 0, 8*len(mask))
	for _, word := range mask {
		for shift := 0; shift < 64; shift += 8 {
			key = append(key, byte(word>>shift))
		}
	}
	found := s.lanes[string(key)]
	if found == nil {
		found = &lane{key: string(key), devices: devices, mask: mask, queue: queue{which: inLane}}
		s.lanes[found.key] = found
		for _, d := range devices {
			d.lanes = append(d.lanes, found)
		}
	}
	return found
}

// leaveLane drops the lane if l was its last line.
func (s *Scheduler) leaveLane(l *line) {
	l.lane.urgent.remove(l)
	l.lane.lines--
	if l.lane.lines > 0 {
		return
	}
	delete(s.lanes, l.lane.key)
	for _, d := range l.lane.devices {
		d.lanes = slices.DeleteFunc(d.lanes, func(o *lane) bool { return o == l.lane })
	}
}

// relane finds out again which devices may serve f, and moves what waits.
func (s *Scheduler) relane(f *function) { s.relaneLines(f.lines) }

func (s *Scheduler) relaneLines(lines []*line) {
	var moved []*request
	var before *line
	var next *lane
	for _, l := range lines {
		f := l.function
		// Lines that differ in their SLO only may be many, and go to one lane.
		if before == nil || before.function != f || before.model != l.model {
			next = s.laneOf(l)
		}
		before = l
		if next == l.lane && (s.served(l) || !f.ready()) {
			continue
		}
		next.lines++ // it may be the present one
		for _, r := range s.waitingOf(l) {
			if r.stage == queued || !next.mask.has(r.device.index) {
				s.withdraw(r)
				moved = append(moved, r)
			}
		}
		s.leaveLane(l)
		l.lane = next
	}
	slices.SortFunc(moved, bySeq)
	for _, r := range moved {
		s.enqueueOrPass(r)
	}
}

// waitingOf returns the requests of l that wait, in order of arrival.
func (s *Scheduler) waitingOf(l *line) []*request {
	var all []*request
	for r := l.queue.first; r != nil; r = r.links[inLine].next {
		all = append(all, r)
	}
	for _, d := range s.devices {
		for r := d.bound.first; r != nil; r = r.links[inLane].next {
			if r.line == l {
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, bySeq)
	return all
}

// enqueueOrPass lets r wait, or hands it on if it cannot be served by a device.
func (s *Scheduler) enqueueOrPass(r *request) {
	l := r.line
	if s.served(l) || !l.function.ready() {
		s.enqueue(r)
		return
	}
	e := sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: r.id, Function: l.function.name, Model: l.model.name, SLO: l.slo,
	}}
	s.forget(r)
	s.plain(s.wall(), e)
}
