package cachemgr

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// wire is a link that copies one model at a time, in the order in which they were
// asked for, beside what computes.
type wire struct {
	copying chan struct{} // of one
	copies  func(model string) time.Duration
	compute func(model string) time.Duration
	mapping time.Duration // before each copy, beside others
	evict   time.Duration // of a model

	mu      sync.Mutex
	busy    time.Duration
	waiting int // for the link or on it
	most    int
	order   []string // models, as they were copied
}

func newWire(e *testengine.Engine, copies, compute time.Duration) *wire {
	w := &wire{
		copying: make(chan struct{}, 1),
		copies:  func(string) time.Duration { return copies },
		compute: func(string) time.Duration { return compute },
	}
	e.Before = w.before
	return w
}

func (w *wire) before(_ context.Context, c testengine.Call) error {
	switch c.Op {
	case testengine.Load:
		w.count(1, 0, "")
		time.Sleep(w.mapping)
		w.copying <- struct{}{}
		took := w.copies(c.Model)
		time.Sleep(took)
		<-w.copying
		w.count(-1, took, c.Model)
	case testengine.Run:
		time.Sleep(w.compute(c.Model))
	case testengine.Evict:
		time.Sleep(w.evict)
	}
	return nil
}

func (w *wire) count(waiting int, busy time.Duration, model string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting += waiting
	w.most = max(w.most, w.waiting)
	w.busy += busy
	if model != "" {
		w.order = append(w.order, model)
	}
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy, w.most, w.order = 0, 0, nil
}

// TestWireIsBusy: where every request is a miss, and there is room for three models,
// the link copies almost all the time, whatever the order of the queue.
func TestWireIsBusy(t *testing.T) {
	const clients, rounds = 8, 30
	for _, p := range []struct {
		name  string
		order func(*Config, *testengine.Engine)
	}{{"fifo", ordered(byFIFO, lru)}, {"rrc", ordered(byRRC, torpor)}, {"slo", ordered(bySLO, gdsf)}} {
		t.Run(p.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				for i := range clients * rounds {
					r.add(fmt.Sprint(i), 33)
				}
				w := newWire(r.engine, 450*time.Microsecond, 400*time.Microsecond)
				var wg sync.WaitGroup
				for c := range clients {
					wg.Go(func() {
						for _, warm := range []bool{true, false} { // a first load is no transfer
							if !warm {
								time.Sleep(time.Until(time.Unix(1<<31, 0))) // all begin together
							}
							for i := range rounds {
								if _, err := r.infer(r.Context(), fmt.Sprint(c*rounds+i)); err != nil {
									r.Error(err)
								}
							}
						}
					})
				}
				time.Sleep(time.Until(time.Unix(1<<31, 0)))
				w.reset()
				began := time.Now()
				wg.Wait()
				w.mu.Lock()
				defer w.mu.Unlock()
				share := float64(w.busy) / float64(time.Since(began))
				r.Logf("the link was busy %.1f %% of the time, with at most %d models on their way", 100*share, w.most)
				if share < 0.95 || w.most > 2 {
					r.Error("want 95 % and 2")
				}
			}, p.order, func(c *Config, _ *testengine.Engine) { c.HostBudget = 1 << 20 })
		})
	}
}

// TestHeavyOnesAreNotPutTogether: while a model is copied whose swap its computing
// does not hide, a light one goes before the next such.
func TestHeavyOnesAreNotPutTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		heavy := map[string]bool{"h1": true, "h2": true, "h3": true}
		names := []string{"h1", "h2", "h3", "l1", "l2"}
		w := newWire(r.engine, 0, 0)
		w.copies = func(string) time.Duration { return 10 * time.Millisecond }
		w.compute = func(model string) time.Duration {
			if heavy[model] {
				return time.Millisecond
			}
			return 20 * time.Millisecond
		}
		for _, name := range names {
			r.add(name, 33)
			for range 3 { // what it takes is learned
				if _, err := r.infer(r.Context(), name); err != nil {
					r.Fatal(err)
				}
				if err := r.m.Unload(r.Context(), name); err != nil {
					r.Fatal(err)
				}
			}
			if _, err := r.m.Spec(r.Context(), name); err != nil {
				r.Fatal(err)
			}
		}
		w.reset()
		var all []*pending
		for _, name := range names {
			all = append(all, r.start(name))
		}
		for _, p := range all {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
		// h2 was on its way before a light one came; then they take turns.
		if got := fmt.Sprint(w.order); got != "[h1 h2 l1 h3 l2]" && got != "[h1 h2 l1 l2 h3]" {
			r.Errorf("copied in the order %v", got)
		}
	}, func(c *Config, _ *testengine.Engine) { c.Transfers = 2 })
}

// TestTransfersAreBounded: also where there is room for more.
func TestTransfersAreBounded(t *testing.T) {
	for _, most := range []int{1, 2, 3} {
		inBubble(t, func(r *rig) {
			w := newWire(r.engine, time.Millisecond, time.Millisecond)
			var all []*pending
			for round := range 2 {
				w.reset()
				for i := range 8 {
					name := fmt.Sprint(i)
					if round == 0 {
						r.add(name, 10)
						r.want(name, "load")
						if err := r.m.Unload(r.Context(), name); err != nil {
							r.Fatal(err)
						}
						if _, err := r.m.Spec(r.Context(), name); err != nil {
							r.Fatal(err)
						}
						continue
					}
					all = append(all, r.start(name))
				}
			}
			for _, p := range all {
				if _, err := p.wait(); err != nil {
					r.Error(err)
				}
			}
			if w.most != most {
				r.Errorf("%d models at once on their way, want %d", w.most, most)
			}
		}, func(c *Config, _ *testengine.Engine) { c.Transfers = most })
	}
}

// TestSpareIsWhatIsLightOrElsewhere: as its costs change, and as copies come and go.
func TestSpareIsWhatIsLightOrElsewhere(t *testing.T) {
	inBubble(t, func(r *rig) {
		w := newWire(r.engine, 10*time.Millisecond, time.Millisecond)
		r.add("a", 10)
		spare := func(device int) bool {
			r.m.mu.Lock()
			defer r.m.mu.Unlock()
			return r.m.models["a"].slots[device].entry.Spare
		}
		on := func(device engine.DeviceID) {
			r.Helper()
			in, out := testTensors()
			if _, err := r.m.Infer(r.Context(), Request{Digest: "a", Device: device, In: in, Out: out}); err != nil {
				r.Fatal(err)
			}
		}
		on("one")
		if spare(0) {
			r.Error("heavy, and nowhere else, and spare")
		}
		on("two")
		if !spare(0) || !spare(1) {
			r.Error("on both, and one is not spare")
		}
		r.m.mu.Lock()
		r.m.drain(r.m.models["a"].slots[1])
		r.m.mu.Unlock()
		if spare(0) {
			r.Error("it has left the other, and is spare")
		}
		w.compute = func(string) time.Duration { return 50 * time.Millisecond }
		for range 10 {
			on("one")
		}
		if !spare(0) {
			r.Error("light, and not spare")
		}
	}, func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{{ID: "one", FreeBytes: 100}, {ID: "two", FreeBytes: 100}}
	})
}
