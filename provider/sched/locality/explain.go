package locality

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Explain implements sched.Scheduler. The request it speaks of has the model
// that the function's latest request had, and no SLO.
func (s *Scheduler) Explain(now time.Time, name string) sched.Explanation {
	s.tick(now)
	f := s.functions[name]
	if f == nil || f.last == nil {
		return s.cfg.Plain.Explain(now, name)
	}
	l := s.line(f, f.last, 0)
	if len(l.lane.devices) == 0 {
		e := s.cfg.Plain.Explain(now, name)
		e.Why = fmt.Sprintf("no device that can hold %s is on the node of a ready replica: %s", f.last.name, e.Why)
		return e
	}
	out := sched.Explanation{Function: name, Policy: string(s.cfg.Policy), Queued: f.waiting, Replicas: f.candidates()}
	for _, d := range l.lane.devices {
		out.Devices = append(out.Devices, s.cost(l.model, d))
	}
	slices.SortFunc(out.Devices, func(a, b sched.DeviceCost) int {
		return cmp.Or(cmp.Compare(a.Total, b.Total), strings.Compare(a.Device, b.Device))
	})
	chosen, why := s.policy.choose(s, l)
	if chosen == nil {
		out.Why = why
		return out
	}
	out.Chosen = l.function.on(chosen.Node).ID
	q := s.price(l.model, chosen)
	out.Why = fmt.Sprintf("%s for %s: %s; about %v: %s", chosen.ID, f.last.name, why, ms(q.total()), q.words())
	return out
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
	return sched.DeviceCost{
		Device: d.ID, Node: d.Node, Place: place,
		Wait: millis(q.wait), Fetch: millis(q.fetch), Compute: millis(q.compute), Toll: millis(q.toll),
		Total: millis(q.total()), Why: why,
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
		why := "on the node of a device"
		switch {
		case !r.Ready:
			why = "not ready"
		case !f.usable(r):
			why = "could not be reached a moment ago: the last choice"
		}
		out = append(out, sched.Candidate{
			Replica: r.ID, Node: r.Node, Ready: r.Ready, InFlight: r.inFlight, Capacity: r.Capacity, Why: why,
		})
	}
	slices.SortFunc(out, func(a, b sched.Candidate) int { return strings.Compare(a.Replica, b.Replica) })
	return out
}
