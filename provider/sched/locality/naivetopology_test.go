package locality

import (
	"cmp"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

func (n *naive) line(f *naiveFunction, model string, slo time.Duration) *naiveLine {
	for _, l := range f.lines {
		if l.model == model && l.slo == slo {
			return l
		}
	}
	l := &naiveLine{f: f, model: model, slo: slo}
	l.lane = n.lane(l)
	f.lines, n.lines = append(f.lines, l), append(n.lines, l)
	return l
}

// lane names the devices that may serve l.
func (n *naive) lane(l *naiveLine) string {
	out := ""
	for _, d := range n.devices {
		if n.may(l, d) {
			out += d.ID + " "
		}
	}
	return out
}

func (n *naive) may(l *naiveLine, d *naiveDevice) bool {
	return n.could(l, d) && l.f.on(d.Node) != nil
}

func (n *naive) could(l *naiveLine, d *naiveDevice) bool {
	m := n.models[l.model]
	_, priced := m.prices[d.Class]
	return m.bytes <= d.Budget && priced && !n.fails(l.model, d) && l.f.policy != sched.PolicyLeastInFlight
}

// served reports whether a device is there for l, though replicas may be full.
func (n *naive) served(l *naiveLine) bool {
	return slices.ContainsFunc(n.devices, func(d *naiveDevice) bool {
		return n.could(l, d) && slices.ContainsFunc(l.f.replicas, func(r *naiveReplica) bool {
			return r.Node == d.Node && r.Ready
		})
	})
}

func (f *naiveFunction) ready() bool {
	return slices.ContainsFunc(f.replicas, func(r *naiveReplica) bool { return r.Ready })
}

func (f *naiveFunction) on(node string) (best *naiveReplica) {
	for _, r := range f.replicas {
		full := r.Capacity > 0 && r.serving >= r.Capacity
		if r.Node == node && r.Ready && r.avoid == 0 && !full && (best == nil || r.serving < best.serving) {
			best = r
		}
	}
	return best
}

func (n *naive) forgive() {
	var over []*naiveReplica
	for _, r := range n.avoided {
		if !r.gone && r.avoid > 0 && r.avoid <= n.now {
			r.avoid = 0
			over = append(over, r)
		}
	}
	for _, r := range over {
		n.relane(r.function)
	}
	n.avoided = slices.DeleteFunc(n.avoided, func(r *naiveReplica) bool { return r.gone || r.avoid == 0 })
}

// relane takes those requests out whose devices have changed, and puts them back.
func (n *naive) relane(f *naiveFunction) {
	if !f.gone {
		n.relaneLines(f.lines)
	}
}

func (n *naive) relaneLines(lines []*naiveLine) {
	var moved []*naiveRequest
	for _, l := range lines {
		if lane := n.lane(l); lane != l.lane || !n.served(l) && l.f.ready() {
			for _, r := range slices.Clone(n.waiting) {
				if r.line == l && (r.bound == nil || !n.may(l, r.bound)) {
					n.drop(r)
					moved = append(moved, r)
				}
			}
			l.lane = lane
		}
	}
	slices.SortFunc(moved, func(a, b *naiveRequest) int { return cmp.Compare(a.seq, b.seq) })
	n.enqueueOrPass(moved)
}

func (n *naive) enqueueOrPass(moved []*naiveRequest) {
	for _, r := range moved {
		if n.served(r.line) || !r.line.f.ready() {
			n.enqueue(r)
			continue
		}
		n.plain(n.epoch.Add(n.now), sched.Event{Kind: sched.Arrive, Request: sched.Request{
			ID: r.id, Function: r.line.f.name, Model: r.line.model, SLO: r.line.slo,
		}})
	}
}

func (n *naive) setReplicas(now time.Time, e sched.Event) {
	n.plain(now, e)
	f := n.functions[e.Function]
	if f == nil {
		f = &naiveFunction{name: e.Function}
		n.functions[e.Function] = f
	}
	f.wakeable = e.Wakeable
	f.policy = cmp.Or(Policy(e.Policy), n.cfg.Policy)
	before := f.replicas
	f.replicas = nil
	for _, b := range before {
		b.gone = true
	}
	for _, want := range e.Replicas {
		r := &naiveReplica{function: f}
		for _, b := range before {
			if b.ID == want.ID {
				r = b
			}
		}
		if want.Ready && !r.Ready {
			r.avoid = 0
		}
		r.Replica, r.gone = want, false
		f.replicas = append(f.replicas, r)
	}
	n.relane(f)
	if len(f.replicas) == 0 && !f.wakeable {
		n.refuseAll(f, sched.NoReplica)
	}
	n.wake(f)
}

func (n *naive) refuseAll(f *naiveFunction, why sched.Reason) {
	for _, r := range slices.Clone(n.waiting) {
		if r.line.f == f {
			n.drop(r)
			n.refuse(r.id, f, why)
		}
	}
}

func (n *naive) removed(now time.Time, e sched.Event) {
	n.plain(now, e)
	if f := n.functions[e.Function]; f != nil {
		delete(n.functions, e.Function)
		f.gone = true
		n.refuseAll(f, sched.NoFunction)
		for _, r := range f.replicas {
			r.gone = true
		}
		n.lines = slices.DeleteFunc(n.lines, func(l *naiveLine) bool { return l.f == f })
	}
}

func (n *naive) setDevices(want []sched.Device) {
	before := n.devices
	if n.onlyCredits(want) {
		return
	}
	waiting := n.waiting
	n.waiting, n.devices = nil, nil
	var added []*naiveDevice
	for _, w := range want {
		d := &naiveDevice{}
		if i := slices.IndexFunc(before, func(b *naiveDevice) bool { return b.ID == w.ID }); i >= 0 {
			d = before[i]
		} else {
			added = append(added, d)
		}
		d.Device = w
		n.devices = append(n.devices, d)
	}
	for _, b := range before {
		if !slices.Contains(n.devices, b) {
			b.gone = true
			n.failures = slices.DeleteFunc(n.failures, func(f naiveFailure) bool { return f.device == b })
			for _, m := range n.models {
				n.unset(m, b)
			}
		}
	}
	for _, m := range n.models {
		for node := range m.staged {
			if !slices.ContainsFunc(n.devices, func(d *naiveDevice) bool { return d.Node == node }) {
				delete(m.staged, node)
			}
		}
	}
	for _, d := range added {
		n.ticks++
		d.since = n.ticks
	}
	for _, f := range n.functions {
		for _, l := range f.lines {
			l.lane = n.lane(l)
		}
	}
	n.enqueueOrPass(waiting)
}

// onlyCredits: devices that may be given another number of requests have had room
// for the shortest time.
func (n *naive) onlyCredits(want []sched.Device) bool {
	same := func(d *naiveDevice, w sched.Device) bool {
		w.Credits = d.Credits
		return w == d.Device
	}
	if !slices.EqualFunc(n.devices, want, same) {
		return false
	}
	for i, d := range n.devices {
		if d.Credits != want[i].Credits {
			d.Device = want[i]
			n.ticks++
			d.since = n.ticks
		}
	}
	return true
}

func (n *naive) removeModel(name string) {
	has := func(r *naiveRequest) bool { return r.line.model == name }
	m := n.models[name]
	if m == nil {
		return
	}
	m.gone = true
	if slices.ContainsFunc(n.waiting, has) || slices.ContainsFunc(n.serving, has) {
		return
	}
	for _, d := range n.devices {
		n.unset(m, d)
	}
	delete(n.models, name)
	n.failures = slices.DeleteFunc(n.failures, func(f naiveFailure) bool { return f.model == name })
	gone := func(l *naiveLine) bool { return l.model == name }
	n.lines = slices.DeleteFunc(n.lines, gone)
	for _, f := range n.functions {
		f.lines = slices.DeleteFunc(f.lines, gone)
	}
}

func (n *naive) setPrices(e sched.Event) {
	m := n.models[e.Model]
	if e.Bytes <= 0 {
		n.removeModel(e.Model)
		return
	}
	if m == nil {
		m = &naiveModel{here: map[string]bool{}, coming: map[string]bool{}, staged: map[string]bool{}}
		n.models[e.Model] = m
	}
	m.gone, m.bytes, m.prices = false, e.Bytes, map[string]sched.Price{}
	for _, p := range e.Prices {
		m.prices[p.Class] = p
	}
	n.relaneModel(e.Model)
}

func (n *naive) moved(e sched.Event) {
	m := n.models[e.Model]
	i := slices.IndexFunc(n.devices, func(d *naiveDevice) bool { return d.ID == e.Device })
	if m == nil || i < 0 {
		return
	}
	d := n.devices[i]
	if e.Kind == sched.Resident {
		m.here[d.ID] = true
		n.arrived(m, d)
		for _, h := range d.held {
			if h.line.model == e.Model {
				h.ready = min(h.ready, n.now)
			}
		}
	} else if !d.uses(e.Model) {
		n.unset(m, d)
	}
}
