package provider

import (
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// counts are the invocations of each function since the provider started.
type counts struct {
	functions sync.Map // runtime.ID -> *invocations
}

// invocations of one function.
type invocations struct {
	mu     sync.Mutex
	byCode map[int]uint64
	total  uint64
	slo    *attainment // nil as long as no request has had an objective
}

func newCounts() *counts { return &counts{} }

// of is where the invocations of id are counted. One that outlives its function
// counts for nothing.
func (c *counts) of(id runtime.ID) *invocations {
	v, ok := c.functions.Load(id)
	if !ok {
		v, _ = c.functions.LoadOrStore(id, &invocations{byCode: make(map[int]uint64)})
	}
	return v.(*invocations)
}

// add counts one invocation that was answered with a status.
func (n *invocations) add(status int) {
	n.mu.Lock()
	n.byCode[status]++
	n.total++
	n.mu.Unlock()
}

// addSLO counts what became of one objective.
func (n *invocations) addSLO(now time.Time, o sloOutcome) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.slo == nil {
		n.slo = &attainment{}
	}
	n.slo.add(now, o)
}

// slo is the attainment of id lately, nil if no request has had an objective.
func (c *counts) slo(id runtime.ID, now time.Time) *sloReport {
	v, ok := c.functions.Load(id)
	if !ok {
		return nil
	}
	n := v.(*invocations)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.slo == nil {
		return nil
	}
	return newSLOReport(n.slo.lately(now))
}

// eachSLO calls f for every function with objectives and outcome.
func (c *counts) eachSLO(f func(id runtime.ID, o sloOutcome, n uint64)) {
	c.functions.Range(func(k, v any) bool {
		n := v.(*invocations)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.slo != nil {
			for o, count := range n.slo.total {
				f(k.(runtime.ID), sloOutcome(o), count)
			}
		}
		return true
	})
}

// total is how often id was invoked.
func (c *counts) total(id runtime.ID) float64 {
	v, ok := c.functions.Load(id)
	if !ok {
		return 0
	}
	n := v.(*invocations)
	n.mu.Lock()
	defer n.mu.Unlock()
	return float64(n.total)
}

// forget drops what is known of a function that is gone.
func (c *counts) forget(id runtime.ID) { c.functions.Delete(id) }

// each calls f for every function and status.
func (c *counts) each(f func(id runtime.ID, status int, n uint64)) {
	c.functions.Range(func(k, v any) bool {
		n := v.(*invocations)
		n.mu.Lock()
		defer n.mu.Unlock()
		for status, count := range n.byCode {
			f(k.(runtime.ID), status, count)
		}
		return true
	})
}
