package locality

import (
	"cmp"
	"math"
	"slices"
)

// schedule: devices that hold the fewest requests first, then those that have
// had room longest. The order is fixed when a round begins.
func (n *naive) schedule() {
	for took := true; took; {
		took = false
		order := slices.Clone(n.devices)
		slices.SortFunc(order, func(a, b *naiveDevice) int {
			return cmp.Or(cmp.Compare(len(a.held), len(b.held)), cmp.Compare(a.since, b.since))
		})
		for _, d := range order {
			for len(d.held) < n.credits(d) && n.serve(d) {
				took = true
			}
		}
	}
}

func (n *naive) serve(d *naiveDevice) bool {
	var next *naiveRequest
	for _, r := range n.waiting {
		if r.bound == d && (next == nil || r.boundAt < next.boundAt) {
			next = r
		}
	}
	if next != nil {
		return n.give(next, d)
	}
	if n.cfg.Policy == LB {
		return n.place(n.first(d, nil), d)
	}
	overdue := n.first(d, func(r *naiveRequest) bool { return r.passed >= n.cfg.Limit && n.heads(r) })
	if n.cfg.Policy == Swap {
		if overdue != nil {
			return n.place(overdue, d)
		}
		if r := n.soonest(d, true); r != nil {
			return n.give(r, d)
		}
		if r := n.soonest(d, false); r != nil {
			return n.place(r, d)
		}
		return n.give(n.takeOver(d), d)
	}
	if overdue != nil {
		return n.place(overdue, d)
	}
	if r := n.first(d, func(r *naiveRequest) bool { return n.models[r.line.model].here[d.ID] }); r != nil {
		return n.give(r, d)
	}
	return n.place(n.first(d, nil), d)
}

// place: where a request goes is up to its function's policy.
func (n *naive) place(r *naiveRequest, d *naiveDevice) bool {
	switch {
	case r == nil:
		return false
	case r.line.f.policy == LB:
		return n.give(r, d)
	case r.line.f.policy == Swap:
		return n.cheapest(r, d)
	}
	return n.balance(r, d)
}

// credits is how many requests d may hold.
func (n *naive) credits(d *naiveDevice) int { return cmp.Or(d.Credits, n.cfg.Credits) }

// takes is for how long a request for a model keeps d from others.
func (n *naive) takes(model string, d *naiveDevice) instant {
	return n.models[model].prices[d.Class].Compute / instant(max(1, d.Slots))
}

func (n *naive) fastest(model string) instant {
	fastest := instant(math.MaxInt64 / 2)
	for _, p := range n.models[model].prices {
		fastest = min(fastest, p.Compute)
	}
	return fastest
}

// estimate is how soon a request of l could be answered.
func (n *naive) estimate(l *naiveLine) instant {
	best, devices, backlog := instant(math.MaxInt64), 0, instant(0)
	for _, d := range n.devices {
		if n.may(l, d) {
			devices++
			best = min(best, max(n.free(d)-n.now, n.fetch(&naiveRequest{line: l}, d))+n.models[l.model].prices[d.Class].Compute)
		}
	}
	if devices == 0 {
		return 0
	}
	for _, q := range n.waiting {
		if q.bound == nil && q.line.lane == l.lane {
			backlog += q.share
		}
	}
	return best + backlog/instant(devices)
}

// heads reports whether no older request may go to the same devices.
func (n *naive) heads(r *naiveRequest) bool {
	return !slices.ContainsFunc(n.waiting, func(q *naiveRequest) bool {
		return q.bound == nil && q.seq < r.seq && q.line.lane == r.line.lane
	})
}

// first is the oldest request for d that matches.
func (n *naive) first(d *naiveDevice, matches func(*naiveRequest) bool) *naiveRequest {
	for _, r := range n.waiting {
		if r.bound == nil && n.may(r.line, d) && (matches == nil || matches(r)) {
			return r
		}
	}
	return nil
}

// soonest is the request for d that is due first, of those that are next in their
// line.
func (n *naive) soonest(d *naiveDevice, hit bool) *naiveRequest {
	var best *naiveRequest
	var seen []*naiveLine
	for _, r := range n.waiting {
		if r.bound != nil || !n.may(r.line, d) || slices.Contains(seen, r.line) {
			continue
		}
		seen = append(seen, r.line)
		m := n.models[r.line.model]
		if hit && !m.here[d.ID] {
			continue
		}
		n.judge(r)
		if best == nil || r.due < best.due || r.due == best.due && r.seq < best.seq {
			best = r
		}
	}
	return best
}

// judge notes that r will be too late, however soon it is served.
func (n *naive) judge(r *naiveRequest) {
	if r.line.slo > 0 && !r.late && n.now+n.fastest(r.line.model) > r.due {
		r.late, r.due = true, max(r.due, r.arrived+n.cfg.Patience)
	}
}

func (n *naive) fits(model string, d *naiveDevice) bool {
	bytes, counted := n.models[model].bytes, []string{model}
	for _, h := range d.held {
		if !slices.Contains(counted, h.line.model) {
			bytes += n.models[h.line.model].bytes
			counted = append(counted, h.line.model)
		}
	}
	return bytes <= d.Budget || d.uses(model)
}

func (n *naive) room(model string, d *naiveDevice) bool {
	return len(d.held) < n.credits(d) && n.fits(model, d)
}

func (n *naive) free(d *naiveDevice) instant {
	at := max(n.now, d.freeAt)
	for _, r := range n.waiting {
		if r.bound == d {
			at += r.takes
		}
	}
	return at
}

func (n *naive) load(m *naiveModel, d *naiveDevice) instant {
	if m.staged[d.Node] {
		return 0
	}
	return m.prices[d.Class].Load
}

func before(a, b *naiveDevice) bool {
	return len(a.held) < len(b.held) || len(a.held) == len(b.held) && a.since < b.since
}

func (n *naive) balance(r *naiveRequest, d *naiveDevice) bool {
	m := n.models[r.line.model]
	var open, busy *naiveDevice
	for _, h := range n.devices {
		if !m.here[h.ID] || !n.may(r.line, h) {
			continue
		}
		if n.room(r.line.model, h) {
			if open == nil || before(h, open) {
				open = h
			}
		} else if busy == nil || n.free(h) < n.free(busy) || n.free(h) == n.free(busy) && h.since < busy.since {
			busy = h
		}
	}
	switch {
	case open != nil:
		return n.give(r, open)
	case busy != nil && n.free(busy)-n.now < n.load(m, d)+m.prices[d.Class].Swap:
		if busy == d {
			return n.give(r, d)
		}
		return n.bind(r, busy)
	}
	return n.give(r, d)
}

// fetch is how long it takes until d has the model of r.
func (n *naive) fetch(r *naiveRequest, d *naiveDevice) (fetch instant) {
	m := n.models[r.line.model]
	if !m.here[d.ID] {
		fetch = max(n.load(m, d), n.way(d).freeAt-n.now) + m.prices[d.Class].Swap
	} else if m.coming[d.ID] {
		for _, h := range slices.Backward(d.held) {
			if h.line.model == r.line.model {
				fetch = max(0, h.ready-n.now)
			}
		}
	}
	return fetch
}

func (n *naive) cost(r *naiveRequest, d *naiveDevice) instant {
	wait, fetch := n.free(d)-n.now, n.fetch(r, d)
	queued := 0
	for _, q := range n.waiting {
		if q.bound == nil {
			queued++
		}
	}
	toll := max(0, fetch-wait) * instant(max(0, queued-1)) / instant(len(n.devices))
	used := int64(0)
	for _, m := range n.models {
		if m.here[d.ID] {
			used += m.bytes
		}
	}
	if m := n.models[r.line.model]; !m.here[d.ID] && used+m.bytes > d.Budget {
		toll += fetch / 2
	}
	return max(wait, fetch) + n.models[r.line.model].prices[d.Class].Compute + toll
}

func (n *naive) cheapest(r *naiveRequest, d *naiveDevice) bool {
	var best *naiveDevice
	for _, o := range n.devices {
		if o != d && len(o.held) >= n.credits(o) && !n.models[r.line.model].here[o.ID] {
			continue
		}
		if n.may(r.line, o) && (best == nil || n.cost(r, o) < n.cost(r, best) || n.cost(r, o) == n.cost(r, best) && before(o, best)) {
			best = o
		}
	}
	if best == d || n.room(r.line.model, best) {
		return n.give(r, best)
	}
	if n.binds++; n.binds <= maxBinds {
		return n.bind(r, best)
	}
	if hit := n.soonest(d, true); hit != nil && n.cfg.Policy == Swap {
		r = hit
	}
	return n.give(r, d)
}

// takeOver is the bound request that gains most on d.
func (n *naive) takeOver(d *naiveDevice) (best *naiveRequest) {
	most := instant(0)
	for _, r := range n.waiting {
		if r.bound == nil || r.bound == d || !n.may(r.line, d) || !n.fits(r.line.model, d) {
			continue
		}
		done := max(n.now, r.bound.freeAt)
		for _, q := range n.waiting {
			if q.bound == r.bound && q.boundAt <= r.boundAt {
				done += q.takes
			}
		}
		if gain := done - n.now - n.cost(r, d); gain > most {
			best, most = r, gain
		}
	}
	return best
}
