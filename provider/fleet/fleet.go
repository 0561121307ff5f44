package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Config of a Fleet.
type Config struct {
	// Spare is how many requests a device is given beyond those that it takes to
	// keep it busy: their models are fetched meanwhile.
	Spare int
	// Credits is how many requests every device is given; 0: as many as keep it
	// busy, and Spare.
	Credits int
}

// Fleet is all nodes that are connected.
type Fleet struct {
	cfg     Config
	nodes   map[string]*node   // by address
	devices map[string]*device // by their ID for schedulers
	models  map[string]*model  // by digest
	order   []string           // of models, sorted
	classes []*class           // in the order in which they were first seen
	disk    estimate           // bytes per nanosecond, over all nodes
	names   names

	scratch []sched.Price
}

// node is one cache manager.
type node struct {
	address string
	name    string
	devices []*device // by ID
	models  map[string]*copyOf
	host    api.PoolStatus
}

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

// copyOf is a model on a node.
type copyOf struct {
	names     []api.ModelName
	staged    bool
	stageNs   int64
	instances map[string]api.InstanceStatus // by the device's ID on the node; kept when it leaves
	resident  map[string]bool               // likewise
}

// New makes a Fleet without nodes.
func New(cfg Config) *Fleet {
	return &Fleet{
		cfg: cfg, nodes: map[string]*node{}, devices: map[string]*device{}, models: map[string]*model{}, names: names{},
	}
}

// Find is the file that a function means by a model's name and version: under the
// first of its revisions that has it. An empty version means the highest, an empty
// name the only model.
func (f *Fleet) Find(revisions []api.FunctionRef, name, version string) (Model, bool) {
	for _, ref := range revisions {
		if m, ok := f.names.find(ref, name, version); ok {
			return m, true
		}
	}
	return Model{}, false
}

// Locate says which node a device is on, and what it is called there.
func (f *Fleet) Locate(id string) (address, own string) {
	d := f.devices[id]
	if d == nil {
		return "", ""
	}
	return d.node.address, d.own
}

// Heard takes in a message of the status stream of the node at an address.
func (f *Fleet) Heard(address string, s api.NodeStatus) []sched.Event {
	var events []sched.Event
	n := f.nodes[address]
	if n != nil && n.name != s.Node {
		events = f.Lost(address)
		n = nil
	}
	if n == nil {
		n = &node{address: address, name: s.Node, models: map[string]*copyOf{}}
		f.nodes[address] = n
	}
	if s.Host != nil {
		n.host = *s.Host
	}
	if f.takeDevices(n, s) {
		events = append(events, f.announce())
		events = f.tellAll(events)
	}
	for _, m := range s.Models {
		events = f.takeModel(n, m, events)
	}
	for _, digest := range gone(n, s) {
		events = f.dropModel(n, digest, events)
	}
	return f.tellEstimated(events)
}

// gone are the models that the node no longer has.
func gone(n *node, s api.NodeStatus) []string {
	if !s.Full {
		return s.Gone
	}
	present := make(map[string]bool, len(s.Models))
	for _, m := range s.Models {
		present[m.Digest] = true
	}
	var gone []string
	for digest := range n.models {
		if !present[digest] {
			gone = append(gone, digest)
		}
	}
	slices.Sort(gone)
	return gone
}

// Lost takes a node out that can no longer be reached.
func (f *Fleet) Lost(address string) []sched.Event {
	n := f.nodes[address]
	if n == nil {
		return nil
	}
	delete(f.nodes, address)
	for _, d := range n.devices {
		f.removeDevice(d)
	}
	events := []sched.Event{f.announce()}
	digests := make([]string, 0, len(n.models))
	for digest := range n.models {
		digests = append(digests, digest)
	}
	slices.Sort(digests)
	for _, digest := range digests {
		events = f.dropModel(n, digest, events)
	}
	return events
}

func (f *Fleet) removeDevice(d *device) {
	delete(f.devices, d.ID)
	d.class.devices--
}

// takeDevices reports whether schedulers have to be told.
func (f *Fleet) takeDevices(n *node, s api.NodeStatus) (changed bool) {
	if s.Full {
		n.devices = slices.DeleteFunc(n.devices, func(d *device) bool {
			leaves := !slices.ContainsFunc(s.Devices, func(st api.DeviceStatus) bool { return st.ID == d.own })
			if leaves {
				f.removeDevice(d)
				changed = true
			}
			return leaves
		})
	}
	for _, st := range s.Devices {
		changed = f.takeDevice(n, st) || changed
	}
	return changed
}

func (f *Fleet) takeDevice(n *node, st api.DeviceStatus) (changed bool) {
	c := f.classOf(st)
	id := n.name + "/" + st.ID
	d := f.devices[id]
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
		c = &copyOf{instances: map[string]api.InstanceStatus{}, resident: map[string]bool{}}
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

// Answer is what an answer tells of the request that was given to a device.
type Answer struct {
	Given  string // the device, as schedulers know it
	Model  string // digest
	Cache  string // the outcome, "" if the answer says nothing of a model
	Device string // that computed, as its node calls it
	Timing api.Timing
	Took   time.Duration // since it was sent
}

// Answered corrects the picture by an answer, before its node does.
func (f *Fleet) Answered(a Answer) []sched.Event {
	given := f.devices[a.Given]
	m := f.models[a.Model]
	if given == nil || m == nil {
		return nil
	}
	c := given.node.models[a.Model]
	if c == nil {
		return nil
	}
	computed := given
	if a.Device != given.own {
		computed = f.devices[given.node.name+"/"+a.Device]
	}
	var events []sched.Event
	if a.Cache == api.CacheHit || a.Cache == api.CacheSwap || a.Cache == api.CacheLoad {
		if computed != nil {
			events = f.computed(computed, c, m, a)
		}
	} else {
		computed = nil
	}
	if computed != given && !c.resident[given.own] {
		// The scheduler thought that it would be there now.
		events = append(events, sched.Event{Kind: sched.Evicted, Device: given.ID, Model: m.digest})
	}
	return events
}

// computed takes in that m is on d, and what it took.
func (f *Fleet) computed(d *device, c *copyOf, m *model, a Answer) []sched.Event {
	events := c.set(d, m, true, nil)
	k := m.cost(d.class)
	if a.Timing.Compute > 0 && k.compute.samples < settled {
		k.compute.add(float64(a.Timing.Compute), 1)
		events = f.tell(m, events)
	}
	d.flight.add(a.Took-a.Timing.Queue-a.Timing.Swap, a.Timing.Compute)
	if credits := f.credits(d); credits != d.Credits {
		d.Credits = credits
		events = append(events, f.announce())
	}
	return events
}
