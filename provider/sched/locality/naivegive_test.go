package locality

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// pass counts that r is served before those that came before it.
func (n *naive) pass(r *naiveRequest) {
	for _, q := range n.waiting {
		if q.bound == nil && q.seq < r.seq && q.line.lane == r.line.lane {
			q.passed++
		}
	}
}

func (n *naive) bind(r *naiveRequest, d *naiveDevice) bool {
	n.pass(r)
	n.ticks++
	r.boundAt = n.ticks
	r.bound, r.takes = d, n.takes(r.line.model, d)
	return true
}

func (n *naive) give(r *naiveRequest, d *naiveDevice) bool {
	if r == nil || !n.fits(r.line.model, d) {
		return false
	}
	if r.bound == nil {
		n.pass(r)
	}
	m := n.models[r.line.model]
	n.drop(r)
	r.bound, r.on = nil, d
	r.takes, r.ready = n.takes(r.line.model, d), n.now
	missing := ""
	if !m.here[d.ID] {
		missing = r.line.model
		w := n.way(d)
		w.freeAt = max(n.now+n.load(m, d), w.freeAt) + m.prices[d.Class].Swap
		w.fetching++
		r.ready = w.freeAt
		m.here[d.ID], m.coming[d.ID], m.staged[d.Node] = true, true, true
	} else if m.coming[d.ID] {
		for _, h := range slices.Backward(d.held) {
			if h.line.model == r.line.model {
				r.ready = max(n.now, h.ready)
			}
		}
	}
	d.freeAt = max(n.now, d.freeAt, r.ready) + r.takes
	d.held = append(d.held, r)
	n.ticks++
	d.since = n.ticks
	n.serving = append(n.serving, r)
	r.replica = r.line.f.on(d.Node)
	r.replica.serving++
	n.out = append(n.out, sched.Action{
		Kind: sched.Dispatch, ID: r.id, Function: r.line.f.name, Replica: r.replica.ID, Device: d.ID, Model: missing,
	})
	n.relane(r.line.f)
	return true
}

func (n *naive) way(d *naiveDevice) *naiveWay {
	name := cmp.Or(d.Link, "own "+d.ID)
	if n.ways[name] == nil {
		n.ways[name] = &naiveWay{}
	}
	return n.ways[name]
}

func (n *naive) arrived(m *naiveModel, d *naiveDevice) {
	if m.coming[d.ID] {
		delete(m.coming, d.ID)
		n.fetched(d)
	}
}

func (n *naive) fetched(d *naiveDevice) {
	w := n.way(d)
	w.fetching--
	if w.fetching == 0 {
		w.freeAt = n.now
	}
}

func (n *naive) unset(m *naiveModel, d *naiveDevice) {
	n.arrived(m, d)
	delete(m.here, d.ID)
}

func (n *naive) describe(actions []sched.Action) string {
	out := ""
	for _, a := range actions {
		out += fmt.Sprintf("%d:%d %s@%s %s %d %s %d; ", a.Kind, a.ID, a.Replica, a.Device, a.Function, a.Reason, a.Model, a.At.UnixNano())
	}
	return out
}
