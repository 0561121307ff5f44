package dispatch

import (
	"net/url"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// follow brings the scheduler up to the runtime's present snapshot, which it
// returns.
func (d *Dispatcher) follow() *runtime.Snapshot {
	d.following.Lock()
	defer d.following.Unlock()
	s := d.cfg.Runtime.Snapshot()
	if s == d.followed {
		return s
	}
	before := *d.functions.Load()
	after := make(map[runtime.ID]*Function, len(s.Functions))
	for id, f := range s.Functions {
		known := before[id]
		if known != nil && known.runtime == f {
			after[id] = known
			continue
		}
		after[id] = d.understand(id, f, known)
	}
	for id, f := range after {
		if known := before[id]; known != f && !(known != nil && sameReplicas(known, f)) {
			d.setReplicas(known, f)
		}
	}
	// Requests may come for what is new only now, and no longer for what is gone.
	d.functions.Store(&after)
	for id, f := range before {
		if after[id] == nil {
			d.remove(f)
		}
	}
	d.followed = s
	return s
}

// understand reads a deployment, unless it is the one that was known.
func (d *Dispatcher) understand(id runtime.ID, f *runtime.Function, known *Function) *Function {
	spec, err := function.Parse(f.Deployment.Request)
	if err != nil {
		// It was accepted once, perhaps by another version: it is still served.
		d.cfg.Log.Warn("deployment no longer understood", "function", id.String(), "error", err)
		if known != nil {
			spec = known.Spec
		}
		spec.ID = id
	}
	return &Function{
		Spec: spec, Key: id.String(), runtime: f, use: useOf(f, known, time.Now()), failing: failing(f), revisions: Revisions(id, f),
	}
}

// Revisions is what nodes know a function as, the present revision first.
func Revisions(id runtime.ID, f *runtime.Function) []api.FunctionRef {
	refs := make([]api.FunctionRef, len(f.Revisions))
	for i, revision := range f.Revisions {
		refs[i] = api.FunctionRef{Namespace: id.Namespace, Name: id.Name, UID: revision}
	}
	return refs
}

// sameReplicas reports whether the scheduler would see no difference.
func sameReplicas(a, b *Function) bool {
	x, y := a.runtime.Replicas, b.runtime.Replicas
	if len(x) != len(y) || a.runtime.UID != b.runtime.UID || a.Spec.MaxInFlight != b.Spec.MaxInFlight || a.Spec.GPU.Policy != b.Spec.GPU.Policy ||
		a.runtime.Desired != b.runtime.Desired || a.failing != b.failing {
		return false
	}
	for i := range x {
		if x[i].ID != y[i].ID || x[i].Ready != y[i].Ready || x[i].URL != y[i].URL || x[i].Node != y[i].Node {
			return false
		}
	}
	return true
}

func (d *Dispatcher) setReplicas(before, f *Function) {
	replicas := make([]sched.Replica, 0, len(f.runtime.Replicas))
	addresses := make(map[string]string, len(f.runtime.Replicas))
	for _, r := range f.runtime.Replicas {
		u, err := url.Parse(r.URL)
		if err != nil || u.Host == "" {
			d.cfg.Log.Error("replica without an address", "function", f.Key, "replica", r.ID, "url", r.URL)
			continue
		}
		addresses[r.ID] = u.Host
		replicas = append(replicas, sched.Replica{ID: r.ID, Node: r.Node, Ready: r.Ready, Capacity: f.Spec.MaxInFlight})
	}
	// A function whose replicas are on their way needs no waking.
	wakeable := d.cfg.WakeFromZero || f.runtime.Desired > 0

	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if before != nil && before.runtime.UID != f.runtime.UID {
		// The name was deleted and deployed again: requests for the former one
		// are not for this one.
		d.step(now, sched.Event{Kind: sched.Removed, Function: f.Key}, 0)
	}
	d.forget(before)
	if f.use.resting || f.runtime.Desired == 0 {
		replicas = nil // they are about to leave
	}
	if f.failing {
		replicas, wakeable = nil, false // who waits is told now
	}
	for id, address := range addresses {
		d.addresses[id] = address
	}
	d.step(now, sched.Event{Kind: sched.Replicas, Function: f.Key, Replicas: replicas, Wakeable: wakeable, Policy: f.Spec.GPU.Policy}, 0)
}

func (d *Dispatcher) remove(f *Function) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.step(time.Now(), sched.Event{Kind: sched.Removed, Function: f.Key}, 0)
	d.forget(f)
}

// forget drops the addresses of the replicas that f had. mu is held.
func (d *Dispatcher) forget(f *Function) {
	if f == nil {
		return
	}
	for _, r := range f.runtime.Replicas {
		delete(d.addresses, r.ID)
	}
}
