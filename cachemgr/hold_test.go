package cachemgr

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// TestBatchDelay: a request waits for others as long as the delay, and no longer
// than until the batch is full; one that runs alone does not wait.
func TestBatchDelay(t *testing.T) {
	type arrival struct {
		at   time.Duration
		rows int64
		most int
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name     string
		arrivals []arrival
		waited   []time.Duration
		together []int
	}{
		{"one", []arrival{{0, 1, 8}}, []time.Duration{10 * ms}, []int{1}},
		{"three", []arrival{{0, 1, 8}, {3 * ms, 1, 8}, {9 * ms, 2, 8}}, []time.Duration{10 * ms, 7 * ms, ms}, []int{3, 3, 3}},
		{"too late", []arrival{{0, 1, 8}, {11 * ms, 1, 8}}, []time.Duration{10 * ms, 10 * ms}, []int{1, 1}},
		{"full", []arrival{{0, 5, 8}, {4 * ms, 3, 8}}, []time.Duration{4 * ms, 0}, []int{2, 2}},
		{"full by itself", []arrival{{0, 8, 8}}, []time.Duration{0}, []int{1}},
		{"alone", []arrival{{0, 1, 0}}, []time.Duration{0}, []int{1}},
		{"one that runs alone goes ahead", []arrival{{0, 1, 8}, {3 * ms, 1, 0}}, []time.Duration{10 * ms, 0}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.addAs("a", testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, MaxBatch: 8})
				if err := r.m.Load(r.Context(), "a", ""); err != nil {
					r.Fatal(err)
				}
				b, began, all := &batchRig{rig: r}, time.Now(), []*pending(nil)
				for _, a := range c.arrivals {
					time.Sleep(time.Until(began.Add(a.at)))
					all = append(all, b.ask(a.rows, a.most, false))
				}
				for i, p := range all {
					res, err := p.wait()
					if err != nil || res.Queue != c.waited[i] || res.Batch != c.together[i] {
						r.Errorf("request %d waited %v and ran with %d, %v; want %v and %d", i, res.Queue, res.Batch, err, c.waited[i], c.together[i])
					}
				}
				time.Sleep(time.Second) // all timers
				synctest.Wait()
			}, func(cfg *Config, _ *testengine.Engine) { cfg.BatchDelay = 10 * ms })
		})
	}
}
