package variant

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// board tells those who watch that something has changed.
type board struct {
	mu       sync.Mutex
	own      uint64        // changes of plans
	changed  chan struct{} // closed at the next of them
	awaiting chan struct{} // closed at the next change of anything; nil while nobody waits

	building sync.Mutex // guards last: snapshots are taken one after the other
	last     cachemgr.Status
}

func (b *board) touch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own++
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) position() (own uint64, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own, b.changed
}

// Changed returns a channel that is closed once the status has a generation above
// after.
func (r *Router) Changed(after uint64) <-chan struct{} {
	if r.plain() {
		return r.cfg.CPU.Changed(after)
	}
	sum, changes := r.positions()
	b := &r.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if sum > after || r.life.Err() != nil {
		now := make(chan struct{})
		close(now)
		return now
	}
	if b.awaiting == nil {
		b.awaiting = make(chan struct{})
		r.tasks.Go(func() { r.announce(changes) })
	}
	return b.awaiting
}

// positions adds up the generations of all that is shown. Each only grows, so
// their sum tells whether any has changed.
func (r *Router) positions() (sum uint64, changes []<-chan struct{}) {
	sum, changed := r.board.position()
	changes = append(changes, changed)
	for _, m := range r.managers() {
		g := m.Status().Generation
		sum += g
		changes = append(changes, m.Changed(g))
	}
	return sum, changes
}

func (r *Router) managers() []Manager {
	return slices.DeleteFunc([]Manager{r.cfg.GPU, r.cfg.CPU}, func(m Manager) bool { return m == nil })
}

// announce tells all that wait when one of up to three changes has come.
func (r *Router) announce(changes []<-chan struct{}) {
	for len(changes) < 3 {
		changes = append(changes, nil)
	}
	select {
	case <-changes[0]:
	case <-changes[1]:
	case <-changes[2]:
	case <-r.life.Done():
	}
	b := &r.board
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.awaiting)
	b.awaiting = nil
}

// Status is that of all managers together, each model under its ONNX file's
// digest.
func (r *Router) Status() cachemgr.Status {
	if r.plain() {
		return r.cfg.CPU.Status()
	}
	b := &r.board
	b.building.Lock()
	defer b.building.Unlock()
	own, _ := b.position()
	next := cachemgr.Status{Generation: own}
	var gpu, cpu cachemgr.Status
	for _, m := range []struct {
		manager Manager
		status  *cachemgr.Status
	}{{r.cfg.GPU, &gpu}, {r.cfg.CPU, &cpu}} {
		if m.manager == nil {
			continue
		}
		*m.status = m.manager.Status()
		next.Generation += m.status.Generation
		next.Devices = append(next.Devices, m.status.Devices...)
		next.Work = append(next.Work, m.status.Work...)
		next.Host.Budget += m.status.Host.Budget
		next.Host.Used += m.status.Host.Used
	}
	if next.Generation == b.last.Generation {
		return b.last
	}
	next.Models = r.merge(gpu.Models, cpu.Models)
	b.last = next
	return next
}

// merge joins the states of files and of their plans.
func (r *Router) merge(gpu, cpu map[string]cachemgr.ModelState) map[string]cachemgr.ModelState {
	models := make(map[string]cachemgr.ModelState, len(gpu)+len(cpu))
	maps.Copy(models, gpu)
	maps.Copy(models, cpu)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for digest, mod := range r.models {
		st := cpu[digest]
		for _, p := range mod.plans {
			if of, ok := gpu[p.key]; ok && p.key != "" {
				delete(models, p.key)
				st = joined(st, of)
			}
			if i, ok := p.instance(string(r.cfg.Device)); ok {
				st.Instances = withInstance(st.Instances, i)
			}
		}
		st.Pinned = mod.pinned
		models[digest] = st
	}
	// A plan that is loaded to be proved, or was forgotten, is nobody's model.
	maps.DeleteFunc(models, func(key string, _ cachemgr.ModelState) bool { return isPlanKey(key) })
	return models
}

// joined is the state of a model that has a plan.
func joined(st, of cachemgr.ModelState) cachemgr.ModelState {
	st.Staged = st.Staged || of.Staged
	st.StageNs = max(st.StageNs, of.StageNs)
	st.Estimated, st.Bytes = of.Estimated, of.Bytes
	st.Instances = slices.Clone(st.Instances) // a snapshot of the manager's, which stays as it is
	for _, i := range of.Instances {
		st.Instances = withInstance(st.Instances, i)
	}
	s, o := &st.Stats, of.Stats
	s.Hits += o.Hits
	s.Swaps += o.Swaps
	s.Loads += o.Loads
	s.Failures += o.Failures
	s.Evictions += o.Evictions
	s.SwapNs += o.SwapNs
	s.SwapBytes += o.SwapBytes
	s.ComputeNs += o.ComputeNs
	s.LastUsed = max(s.LastUsed, o.LastUsed)
	return st
}

// withInstance adds an instance; of two on one device the better one is shown.
func withInstance(list []api.InstanceStatus, i api.InstanceStatus) []api.InstanceStatus {
	list = slices.Clone(list)
	at := slices.IndexFunc(list, func(o api.InstanceStatus) bool { return o.Device == i.Device })
	if at < 0 {
		return append(list, i)
	}
	if slices.Index(worstFirst, i.State) > slices.Index(worstFirst, list[at].State) {
		list[at] = i
	}
	return list
}

// worstFirst orders states by how soon a request could be answered.
var worstFirst = []api.State{
	api.StateAbsent, api.StateFailed, api.StateBuilding, api.StateParked, api.StateStaged,
	api.StateDraining, api.StateLoading, api.StateResident,
}

// instance shows a plan that is not ready.
func (p *plan) instance(device string) (api.InstanceStatus, bool) {
	i := api.InstanceStatus{Device: device, State: api.StateBuilding, Reason: p.String()}
	switch p.state {
	case ready:
		return i, false
	case failed, unbuilt:
		i.State, i.RetryAt = api.StateFailed, p.retryAt.UTC().Format(time.RFC3339Nano)
	}
	return i, true
}
