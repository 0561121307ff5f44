package locality

import (
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// avoidFor is how long a replica that could not be reached is the last choice.
const avoidFor = instant(time.Second)

// setDevices takes over which devices there are. It is rare, so everything that
// is indexed by devices is made anew.
func (s *Scheduler) setDevices(now time.Time, want []sched.Device) {
	waiting := s.takeAll()
	known := s.byID
	for _, d := range s.devices {
		d.gone = true
	}
	s.byID = map[string]*device{}
	before, nodes, ways := s.devices, s.nodes, s.ways
	s.devices, s.nodes, s.ways = nil, map[string]*node{}, map[string]*way{}
	for _, w := range want {
		d := known[w.ID]
		if d == nil {
			d = &device{gone: true}
		}
		if s.byID[w.ID] == nil {
			s.connect(d, w, nodes, ways)
		}
	}
	s.reindex(before)
	s.rebuildRoom()
	s.lanes = map[string]*lane{}
	for _, f := range s.functions {
		for _, l := range f.lines {
			l.at = s.places()
			l.lane = s.laneOf(l)
			l.lane.lines++
		}
	}
	for _, r := range waiting {
		s.enqueueOrPass(now, r)
	}
}

// takeAll takes all requests out that wait, in order of arrival.
func (s *Scheduler) takeAll() []*request {
	var all []*request
	for _, r := range s.requests.slots {
		if r != nil && r.stage != held {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, bySeq)
	for _, r := range all {
		s.withdraw(r)
	}
	return all
}

func bySeq(a, b *request) int {
	if a.seq < b.seq {
		return -1
	}
	return 1
}

// connect makes d one of the devices.
func (s *Scheduler) connect(d *device, w sched.Device, nodes map[string]*node, ways map[string]*way) {
	d.Device, d.gone, d.lanes = w, false, nil
	d.bound = queue{which: inLane}
	n := s.nodes[w.Node]
	if n == nil {
		n = &node{index: len(s.nodes), was: -1}
		if known := nodes[w.Node]; known != nil {
			n.was = known.index
		}
		s.nodes[w.Node] = n
	}
	d.node = n
	if _, ok := s.classes[w.Class]; !ok {
		s.classes[w.Class] = len(s.classes)
		for _, m := range s.models {
			m.prices = append(m.prices, price{})
		}
	}
	d.class = s.classes[w.Class]
	name := "link " + w.Link
	if w.Link == "" {
		name = "device " + w.ID
	}
	if s.ways[name] == nil {
		s.ways[name] = ways[name]
	}
	if s.ways[name] == nil {
		s.ways[name] = &way{}
	}
	d.way = s.ways[name]
	s.devices = append(s.devices, d)
	s.byID[d.ID] = d
}

// reindex gives devices and nodes their new indices everywhere.
func (s *Scheduler) reindex(before []*device) {
	for _, m := range s.models {
		here, coming, staged := m.here, m.coming, m.staged
		for _, d := range before {
			if d.gone && coming.has(d.index) {
				s.fetched(d)
			}
		}
		m.here, m.coming = newBitset(len(s.devices)), newBitset(len(s.devices))
		m.staged = newBitset(len(s.nodes))
		for _, d := range before {
			if !d.gone && here.has(d.index) {
				m.here.add(slices.Index(s.devices, d))
			}
			if !d.gone && coming.has(d.index) {
				m.coming.add(slices.Index(s.devices, d))
			}
		}
		for _, n := range s.nodes {
			if n.was >= 0 && staged.has(n.was) {
				m.staged.add(n.index)
			}
		}
	}
	for i, d := range s.devices {
		d.index = i
		d.hits = lineHeap{slot: i + 1}
	}
}

// rebuildRoom keeps the order of the devices that stay; new ones come last.
func (s *Scheduler) rebuildRoom() {
	for n := range s.room {
		s.room[n] = slices.DeleteFunc(s.room[n], func(d *device) bool { return d.gone })
	}
	for _, d := range s.devices {
		if d.since == 0 {
			s.enterRoom(d)
		}
	}
}

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

// laneOf is the lane of the devices that may serve l: on the node of a replica,
// big enough, and known to run the model.
func (s *Scheduler) laneOf(l *line) *lane {
	mask := newBitset(len(s.devices))
	var devices []*device
	for _, d := range s.devices {
		if l.model.bytes <= d.Budget && l.model.prices[d.class].known && l.function.on(d.Node) != nil {
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
func (s *Scheduler) relane(now time.Time, f *function) {
	for _, l := range f.lines {
		next := s.laneOf(l)
		if next == l.lane {
			continue
		}
		var waiting []*request
		for _, r := range s.waitingOf(l) {
			if r.stage == queued || !next.mask.has(r.device.index) {
				s.withdraw(r)
				waiting = append(waiting, r)
			}
		}
		s.leaveLane(l)
		l.lane = next
		next.lines++
		for _, r := range waiting {
			s.enqueueOrPass(now, r)
		}
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
func (s *Scheduler) enqueueOrPass(now time.Time, r *request) {
	l := r.line
	if len(l.lane.devices) > 0 || !l.function.ready() {
		s.enqueue(r)
		return
	}
	e := sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: r.id, Function: l.function.name, Model: l.model.name, SLO: l.slo,
	}}
	s.forget(r)
	s.plain(now, e)
}
