package fleet

import (
	"slices"

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
	all     map[string]api.DeviceStatus // that it has, by ID
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
		n = &node{address: address, name: s.Node, models: map[string]*copyOf{}, all: map[string]api.DeviceStatus{}}
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
