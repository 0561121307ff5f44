package fleet

import (
	"cmp"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// device is one of a node. Schedulers know it by the name of its node and its own.
type device struct {
	sched.Device
	own    string // its ID on its node
	node   *node
	class  *class
	flight flight
	free   int64 // bytes that no model takes
	busy   int   // requests that compute or wait there
}

func (f *Fleet) removeDevice(d *device) {
	delete(f.devices, d.ID)
	d.class.devices--
}

// takeDevices reports whether schedulers have to be told.
func (f *Fleet) takeDevices(n *node, s api.NodeStatus) (changed bool) {
	if s.Full {
		clear(n.all)
	}
	for _, st := range s.Devices {
		n.all[st.ID] = st
	}
	offered := n.offered()
	n.devices = slices.DeleteFunc(n.devices, func(d *device) bool {
		leaves := !slices.ContainsFunc(offered, func(st api.DeviceStatus) bool { return st.ID == d.own })
		if leaves {
			f.removeDevice(d)
			changed = true
		}
		return leaves
	})
	for _, st := range offered {
		changed = f.takeDevice(n, st) || changed
	}
	return changed
}

const kindCPU = "cpu"

// offered are the devices that requests can be sent to. Beside a GPU the processor
// is none of them: the node itself lets it answer where the GPU cannot.
func (n *node) offered() []api.DeviceStatus {
	var gpus, all []api.DeviceStatus
	for _, st := range n.all {
		all = append(all, st)
		if st.Kind != kindCPU {
			gpus = append(gpus, st)
		}
	}
	if len(gpus) > 0 {
		all = gpus
	}
	slices.SortFunc(all, func(a, b api.DeviceStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (f *Fleet) takeDevice(n *node, st api.DeviceStatus) (changed bool) {
	c := f.classOf(st)
	id := n.name + "/" + st.ID
	d := f.devices[id]
	if d != nil && d.node != n {
		return false // two nodes of one name: the first counts, nobody can tell their replicas apart
	}
	if d == nil {
		d = &device{own: st.ID, node: n, class: c, Device: sched.Device{ID: id, Node: n.name, Class: c.name}}
		f.devices[id] = d
		c.devices++
		at, _ := slices.BinarySearchFunc(n.devices, st.ID, func(d *device, own string) int { return cmp.Compare(d.own, own) })
		n.devices = slices.Insert(n.devices, at, d)
		changed = true
	}
	// What a driver says it could give changes all the time by a little.
	if d.Slots != max(1, st.Slots) || float64(abs(d.Budget-st.Budget)) > news*float64(st.Budget) {
		d.Slots, d.Budget = max(1, st.Slots), st.Budget
		changed = true
	}
	d.free = st.Budget - st.Resident - st.Loading - st.Draining - st.Residual
	d.busy = st.Running + st.Queued
	d.Credits = f.credits(d)
	return changed
}

func abs(n int64) int64 { return max(n, -n) }

func (f *Fleet) classOf(st api.DeviceStatus) *class {
	name := st.Engine + " on " + st.Name
	for _, c := range f.classes {
		if c.name == name {
			return c
		}
	}
	c := &class{name: name, told: assumedLink}
	f.classes = append(f.classes, c)
	return c
}

// announce tells which devices there are, by their IDs.
func (f *Fleet) announce() sched.Event {
	e := sched.Event{Kind: sched.Devices}
	for _, d := range f.devices {
		e.Devices = append(e.Devices, d.Device)
	}
	slices.SortFunc(e.Devices, func(a, b sched.Device) int { return cmp.Compare(a.ID, b.ID) })
	return e
}
