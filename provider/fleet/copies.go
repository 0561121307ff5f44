package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// copyOf is a model on a node.
type copyOf struct {
	names     []api.ModelName
	staged    bool
	stageNs   int64
	instances map[string]api.InstanceStatus // by the device's ID on the node; kept when it leaves
	resident  map[string]bool               // likewise
	failed    map[string]time.Time          // where it is not tried again before
}

// takeModel takes in how a model is on a node.
func (f *Fleet) takeModel(n *node, st api.ModelStatus, events []sched.Event) []sched.Event {
	m := f.models[st.Digest]
	if m == nil {
		m = &model{digest: st.Digest, costs: map[*class]*cost{}}
		f.models[st.Digest] = m
		at, _ := slices.BinarySearch(f.order, st.Digest)
		f.order = slices.Insert(f.order, at, st.Digest)
	}
	c := n.models[st.Digest]
	if c == nil {
		c = &copyOf{instances: map[string]api.InstanceStatus{}, resident: map[string]bool{}, failed: map[string]time.Time{}}
		n.models[st.Digest] = c
		m.nodes++
	}
	m.size = max(m.size, st.Size)
	m.bytes = cmp.Or(max(m.bytes, st.Bytes), m.size)
	if !st.Estimated && st.Bytes > 0 {
		m.bytes = st.Bytes
	}
	f.names.replace(st.Digest, c.names, st.Names)
	c.names = st.Names
	f.measureStaging(m, c.stageNs, st.StageNs)
	c.stageNs = cmp.Or(st.StageNs, c.stageNs)
	for _, d := range n.devices {
		if now, ok := instanceOn(st, d.own); ok {
			m.measure(d.class, c.instances[d.own], now)
			c.instances[d.own] = now
		}
	}
	events = f.tell(m, events)
	for _, d := range n.devices {
		now, ok := instanceOn(st, d.own)
		events = c.set(d, m, ok && now.State == api.StateResident, events)
		events = c.setFailed(d, m, now, events)
	}
	return c.setStaged(n, m, st.Staged, events)
}

func instanceOn(st api.ModelStatus, device string) (api.InstanceStatus, bool) {
	for _, i := range st.Instances {
		if i.Device == device {
			return i, true
		}
	}
	return api.InstanceStatus{}, false
}

// set notes whether a model is on a device.
func (c *copyOf) set(d *device, m *model, resident bool, events []sched.Event) []sched.Event {
	if c.resident[d.own] == resident {
		return events
	}
	c.resident[d.own] = resident
	kind := sched.Evicted
	if resident {
		kind = sched.Resident
	}
	return append(events, sched.Event{Kind: kind, Device: d.ID, Model: m.digest})
}

// setFailed notes whether a model cannot be brought to a device for now.
func (c *copyOf) setFailed(d *device, m *model, i api.InstanceStatus, events []sched.Event) []sched.Event {
	var until time.Time
	if i.State == api.StateFailed {
		until, _ = time.Parse(time.RFC3339Nano, i.RetryAt) // else it may be tried at once
	}
	if until.Equal(c.failed[d.own]) {
		return events
	}
	c.failed[d.own] = until
	return append(events, sched.Event{Kind: sched.Failed, Device: d.ID, Model: m.digest, At: until})
}

// setStaged notes whether it is in the node's host memory.
func (c *copyOf) setStaged(n *node, m *model, staged bool, events []sched.Event) []sched.Event {
	if c.staged == staged {
		return events
	}
	c.staged = staged
	kind := sched.Unstaged
	if staged {
		kind = sched.Staged
	}
	return append(events, sched.Event{Kind: kind, Node: n.name, Model: m.digest})
}

// dropModel notes that a node does not have a model any more.
func (f *Fleet) dropModel(n *node, digest string, events []sched.Event) []sched.Event {
	c, m := n.models[digest], f.models[digest]
	if c == nil {
		return events
	}
	delete(n.models, digest)
	f.names.replace(digest, c.names, nil)
	for _, d := range n.devices {
		events = c.set(d, m, false, events)
		events = c.setFailed(d, m, api.InstanceStatus{}, events)
	}
	events = c.setStaged(n, m, false, events)
	if m.nodes--; m.nodes > 0 {
		return events
	}
	delete(f.models, digest)
	at, _ := slices.BinarySearch(f.order, digest)
	f.order = slices.Delete(f.order, at, at+1)
	return append(events, sched.Event{Kind: sched.Prices, Model: digest})
}
