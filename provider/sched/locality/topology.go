package locality

import (
	"cmp"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// A replica that could not be reached is not chosen for avoidFor: its runtime
// usually notices within that time that it is gone. A request that found
// maxAttempts replicas unreachable, one after the other, is refused.
const (
	avoidFor    = instant(100 * time.Millisecond)
	maxAttempts = 10
)

// setDevices takes over which devices there are. It is rare, so everything that
// is indexed by devices is made anew.
func (s *Scheduler) setDevices(want []sched.Device) {
	if s.onlyCredits(want) {
		return
	}
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
	s.forgetFailures(func(f failure) bool { return f.device.gone })
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
		s.enqueueOrPass(r)
	}
}

// onlyCredits takes over what devices may be given, if that is all that changes.
func (s *Scheduler) onlyCredits(want []sched.Device) bool {
	if len(want) != len(s.devices) {
		return false
	}
	for i, d := range s.devices {
		same := want[i]
		same.Credits = d.Credits
		if same != d.Device {
			return false
		}
	}
	for i, d := range s.devices {
		if d.Credits != want[i].Credits {
			s.leaveRoom(d)
			d.Credits = want[i].Credits
			s.credit(d)
			s.enterRoom(d)
		}
	}
	return true
}

// credit sets how many requests d may be given.
func (s *Scheduler) credit(d *device) {
	d.credits = cmp.Or(max(0, d.Credits), s.cfg.Credits)
	for len(s.room) < d.credits {
		s.room = append(s.room, nil)
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
	d.slots = max(1, w.Slots)
	s.credit(d)
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
		s.room[n] = s.room[n][:0]
	}
	for _, d := range s.devices {
		if d.since == 0 {
			s.ticks++
			d.since = s.ticks
		}
	}
	byRoom := slices.Clone(s.devices)
	slices.SortFunc(byRoom, func(a, b *device) int { return cmp.Compare(a.since, b.since) })
	for _, d := range byRoom {
		if n := len(d.held); n < d.credits {
			s.room[n] = append(s.room[n], d)
		}
	}
}
