package dispatch

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/place"
)

// Heard takes in a message of the status stream of the node at an address.
func (d *Dispatcher) Heard(address string, s api.NodeStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stepAll(time.Now(), d.fleet.Heard(address, s))
}

// Lost takes in that a node cannot be reached: until it is heard of again, no
// device of it is chosen. A function that lives only there gets its requests as if
// it had no model.
func (d *Dispatcher) Lost(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stepAll(time.Now(), d.fleet.Lost(address))
}

// Placement says which node another replica of f should go to, and why.
func (d *Dispatcher) Placement(f *Function) place.Choice {
	replicas := make(map[string]int)
	for _, r := range f.runtime.Replicas {
		replicas[r.Node]++
	}
	d.mu.Lock()
	want, nodes := d.fleet.Places(f.revisions, replicas)
	d.mu.Unlock()
	return place.Choose(want, nodes)
}

// stepAll takes events in that no request waits for. mu is held.
func (d *Dispatcher) stepAll(now time.Time, events []sched.Event) {
	for _, e := range events {
		d.step(now, e, 0)
	}
}
