package locality

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Explain implements sched.Scheduler.
func (s *Scheduler) Explain(now time.Time, r sched.Request) sched.Explanation {
	s.tick(now)
	f, m := s.functions[r.Function], s.models[r.Model]
	switch {
	case f == nil || f.place == nil:
		return s.cfg.Plain.Explain(now, r)
	case r.Model == "":
		return s.explainPlain(now, r, "the request names no model that the function is known to have, so no device is chosen")
	case m == nil:
		return s.explainPlain(now, r, "no node that is connected has the model, so no device is chosen")
	}
	l := s.line(f, m, roundSLO(r.SLO))
	if !s.served(l) {
		return s.explainPlain(now, r, "no device that can hold the model is on the node of a ready replica"+s.whereabouts(l))
	}
	out := sched.Explanation{
		Function: f.name, Model: m.name, Policy: string(f.policy), Queued: f.waiting,
		Replicas: f.candidates(), Devices: s.costs(l),
	}
	chosen, why := f.place.choose(s, l)
	if len(l.lane.devices) == 0 {
		chosen, why = nil, "every replica on the nodes of devices is full or not ready"
	}
	if chosen == nil {
		out.Why = why
		return out
	}
	out.Chosen, out.Device = f.on(chosen.Node).ID, chosen.ID
	q := s.price(m, chosen)
	out.Why = fmt.Sprintf("%s; about %v: %s", why, ms(q.total()), q.words())
	return out
}

// explainPlain is what the scheduler for requests without a device says, and why
// it is asked.
func (s *Scheduler) explainPlain(now time.Time, r sched.Request, why string) sched.Explanation {
	e := s.cfg.Plain.Explain(now, r)
	e.Why = why + ": " + e.Why
	return e
}

// whereabouts says where the function of l and the devices are, which is not the
// same; or on which of them its model has failed.
func (s *Scheduler) whereabouts(l *line) string {
	var replicas, devices, failed []string
	for _, r := range l.function.replicas {
		replicas = append(replicas, r.Node)
	}
	for _, d := range s.devices {
		devices = append(devices, d.Node)
		if s.fails(l.model, d) {
			failed = append(failed, d.ID)
		}
	}
	if len(failed) > 0 {
		return " where it has not failed a moment ago (it has on " + list(failed) + ")"
	}
	return fmt.Sprintf(" (replicas on %s, devices on %s)", list(replicas), list(devices))
}

func list(names []string) string {
	slices.Sort(names)
	return cmp.Or(strings.Join(slices.Compact(names), ", "), "none")
}

// costs are the quotes of all devices that may serve l, cheapest first.
func (s *Scheduler) costs(l *line) []sched.DeviceCost {
	costs := []sched.DeviceCost{}
	for _, d := range s.devices {
		if s.could(l, d) && l.function.livesOn(d.Node) {
			costs = append(costs, s.cost(l.model, d))
		}
	}
	slices.SortFunc(costs, func(a, b sched.DeviceCost) int {
		return cmp.Or(cmp.Compare(a.Total, b.Total), strings.Compare(a.Device, b.Device))
	})
	return costs
}

// decision says why r goes to d, before it does.
func (s *Scheduler) decision(r *request, d *device) Decision {
	l := r.line
	why := "it had room, and the request was next"
	chosen, words := l.function.place.choose(s, l)
	switch {
	case r.stage == bound && r.device == d:
		why = "the request waited for it"
	case r.stage == bound:
		why = "it had nothing else to do, and is now cheaper than " + r.device.ID
	case chosen == d:
		why = words
	case l.model.here.has(d.index):
		why = "it had room and the model"
	}
	return Decision{
		Request: r.id, Function: l.function.name, Model: l.model.name, Device: d.ID, Why: why,
		Waited: s.now - r.arrived, Devices: s.costs(l),
	}
}

// cost is the quote of d for people.
func (s *Scheduler) cost(m *model, d *device) sched.DeviceCost {
	q := s.price(m, d)
	place := "disk"
	switch {
	case m.coming.has(d.index):
		place = "coming"
	case m.here.has(d.index):
		place = "resident"
	case m.staged.has(d.node.index):
		place = "staged"
	}
	why := q.words()
	if !s.hasRoom(d, m) {
		why += fmt.Sprintf("; it has no room now: it holds %d and %d are bound to it", len(d.held), d.bound.len)
	}
	estimated := m.prices[d.class].estimated
	if estimated {
		why += "; partly an estimate"
	}
	return sched.DeviceCost{
		Device: d.ID, Node: d.Node, Place: place,
		Wait: millis(q.wait), Fetch: millis(q.fetch), Compute: millis(q.compute), Toll: millis(q.toll),
		Total: millis(q.total()), Estimated: estimated, Why: why,
	}
}

// words of a quote.
func (q quote) words() string {
	text := fmt.Sprintf("wait %v, fetch %v, whichever is longer, and compute %v", ms(q.wait), ms(q.fetch), ms(q.compute))
	if q.toll > 0 {
		text += fmt.Sprintf(", and %v that others pay for the fetch", ms(q.toll))
	}
	return text
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// candidates are the replicas of f in words.
func (f *function) candidates() []sched.Candidate {
	out := []sched.Candidate{}
	for _, r := range f.replicas {
		why := "free"
		switch {
		case !r.Ready:
			why = "not ready"
		case !r.usable():
			why = "could not be reached a moment ago: tried again soon"
		case r.full():
			why = "serves as many requests as it may"
		}
		out = append(out, sched.Candidate{
			Replica: r.ID, Node: r.Node, Ready: r.Ready, InFlight: r.inFlight, Capacity: r.Capacity, Why: why,
		})
	}
	slices.SortFunc(out, func(a, b sched.Candidate) int { return strings.Compare(a.Replica, b.Replica) })
	return out
}
