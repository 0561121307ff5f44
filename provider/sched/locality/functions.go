package locality

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

func (s *Scheduler) setReplicas(now time.Time, e sched.Event) {
	s.plain(now, e)
	f := s.functions[e.Function]
	if f == nil {
		f = &function{name: e.Function}
		s.functions[e.Function] = f
	}
	f.wakeable = e.Wakeable
	f.policy = cmp.Or(Policy(e.Policy), s.cfg.Policy)
	f.place = policyNamed(f.policy)
	before := f.replicas
	f.replicas = nil
	for _, r := range before {
		r.gone = true
	}
	for _, want := range e.Replicas {
		r := &replica{}
		if i := slices.IndexFunc(before, func(b *replica) bool { return b.ID == want.ID }); i >= 0 {
			r = before[i]
		}
		if want.Ready && !r.Ready {
			r.avoidUntil = 0
		}
		r.Replica, r.gone = want, false
		f.replicas = append(f.replicas, r)
	}
	s.relane(f)
	if len(f.replicas) == 0 && !f.wakeable {
		s.refuseAll(f, sched.NoReplica)
	}
	s.wake(f)
}

func (s *Scheduler) removeFunction(now time.Time, e sched.Event) {
	s.plain(now, e)
	f := s.functions[e.Function]
	if f == nil {
		return
	}
	delete(s.functions, e.Function)
	f.gone = true
	s.refuseAll(f, sched.NoFunction)
	for _, r := range f.replicas {
		r.gone = true
	}
	for _, l := range f.lines {
		s.unline(l)
		l.model.lines = without(l.model.lines, l)
	}
}

// unline takes a line without requests out of everything but its function and its
// model.
func (s *Scheduler) unline(l *line) {
	for _, d := range s.devices {
		d.hits.remove(l)
	}
	s.leaveLane(l)
}

func without(lines []*line, l *line) []*line {
	return slices.DeleteFunc(lines, func(o *line) bool { return o == l })
}

func (s *Scheduler) refuseAll(f *function, why sched.Reason) {
	var all []*request
	for _, l := range f.lines {
		all = append(all, s.waitingOf(l)...)
	}
	slices.SortFunc(all, bySeq)
	for _, r := range all {
		s.withdraw(r)
		s.refuse(r, why)
	}
}

// avoid keeps a replica that could not be reached from being chosen for a while,
// and asks to be called again then.
func (s *Scheduler) avoid(f *function, r *replica) {
	if r.gone || r.avoidUntil != 0 {
		return
	}
	s.avoided = append(s.avoided, avoidance{f, r})
	r.avoidUntil = s.now + avoidFor
	s.actions = append(s.actions, sched.Action{Kind: sched.Alarm, Function: f.name, At: s.epoch.Add(r.avoidUntil)})
	s.relane(f)
}

// forgive trusts the replicas again whose time is over.
func (s *Scheduler) forgive() {
	if len(s.avoided) == 0 {
		return
	}
	var over []*function
	s.avoided = slices.DeleteFunc(s.avoided, func(a avoidance) bool {
		trusted := a.replica.gone || a.replica.avoidUntil == 0
		if !trusted && a.replica.avoidUntil <= s.now {
			trusted, a.replica.avoidUntil = true, 0
			over = append(over, a.function)
		}
		return trusted
	})
	for _, f := range over {
		s.relane(f)
	}
}

// setPrices takes over what a model costs.
func (s *Scheduler) setPrices(e sched.Event) {
	m := s.models[e.Model]
	if e.Bytes <= 0 {
		s.dropModel(m)
		return
	}
	if m == nil {
		m = &model{
			name: e.Model, here: newBitset(len(s.devices)), coming: newBitset(len(s.devices)),
			staged: newBitset(len(s.nodes)),
		}
		s.models[e.Model] = m
	}
	for _, p := range e.Prices {
		if _, ok := s.classes[p.Class]; !ok {
			s.classes[p.Class] = len(s.classes)
			for _, other := range s.models {
				other.prices = append(other.prices, price{})
			}
		}
	}
	m.gone = false
	s.resize(m, e.Bytes)
	m.prices = make([]price, len(s.classes))
	m.fastest, m.leastMiss = math.MaxInt64/2, math.MaxInt64/2
	for _, p := range e.Prices {
		known := price{known: true, estimated: p.Estimated, load: max(0, p.Load), swap: max(0, p.Swap), compute: max(0, p.Compute)}
		m.prices[s.classes[p.Class]] = known
		m.fastest = min(m.fastest, known.compute)
		m.leastMiss = min(m.leastMiss, known.swap+known.compute)
	}
	s.relaneLines(m.lines)
}

// dropModel forgets m, if there is one, once no request has it.
func (s *Scheduler) dropModel(m *model) {
	if m == nil {
		return
	}
	m.gone = true
	if m.users == 0 {
		s.removeModel(m)
	}
}

// removeModel forgets m, which no request has.
func (s *Scheduler) removeModel(m *model) {
	for _, l := range m.lines {
		s.unline(l)
		l.function.lines = without(l.function.lines, l)
	}
	for _, d := range s.devices {
		s.unsetHere(m, d)
	}
	s.forgetFailures(func(f failure) bool { return f.model == m })
	delete(s.models, m.name)
}

// resize takes over how big m is.
func (s *Scheduler) resize(m *model, bytes int64) {
	for _, d := range s.devices {
		if m.here.has(d.index) {
			d.used += bytes - m.bytes
		}
	}
	m.bytes = bytes
}

// moved takes over what a node says of a model on a device. While the device
// holds a request for the model, an eviction is older than that request: the
// model is coming, or is there again.
func (s *Scheduler) moved(e sched.Event) {
	m, d := s.models[e.Model], s.byID[e.Device]
	if m == nil || d == nil {
		return
	}
	if e.Kind == sched.Resident {
		s.setHere(m, d)
		s.arrived(m, d)
		for _, h := range d.held {
			if h.line.model == m {
				h.ready = min(h.ready, s.now)
			}
		}
	} else if !holds(d.held, m) {
		s.unsetHere(m, d)
	}
}

func (s *Scheduler) setStaged(e sched.Event) {
	m, n := s.models[e.Model], s.nodes[e.Node]
	if m == nil || n == nil {
		return
	}
	if e.Kind == sched.Staged {
		m.staged.add(n.index)
	} else {
		m.staged.remove(n.index)
	}
}
