package cachemgr

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestQueueIsBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.want("a", api.CacheLoad)
		run := r.hold(testengine.Run, "a")
		all := []*pending{r.start("a"), r.start("a"), r.start("a")} // one runs, two wait
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrOverloaded) {
			r.Errorf("error %v, want ErrOverloaded", err)
		}
		if err := r.m.Load(r.Context(), "a", ""); err != nil {
			r.Errorf("what is resident need not wait: %v", err)
		}
		close(run)
		for _, p := range all {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
	}, func(c *Config, _ *testengine.Engine) { c.QueueDepth = 2 })
}

func TestWaitingIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		model string
	}{{"for its turn", "busy"}, {"for device memory", "a"}, {"for host memory", "heavy"}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("busy", 60)
				r.add("a", 60)
				r.addAs("heavy", testengine.Model{Cost: engine.Cost{Peak: 1, Resident: 1, Host: 990}})
				run := r.hold(testengine.Run, "busy")
				busy := r.start("busy")
				before := time.Now()
				_, err := r.infer(r.Context(), c.model)
				if waited := time.Since(before); !errors.Is(err, ErrOverloaded) || waited != 30*time.Second {
					r.Errorf("error %v after %v, want ErrOverloaded after 30s", err, waited)
				}
				close(run)
				busy.wait()
				if _, err := r.infer(r.Context(), c.model); err != nil {
					r.Error(err)
				}
			})
		})
	}
}

func TestQueueTimeoutSparesWhoseModelIsLoading(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		load := r.hold(testengine.Load, "a")
		p := r.start("a")
		time.Sleep(100 * time.Second)
		if p.isDone() {
			r.Fatalf("gave up: %v", p.err)
		}
		close(load)
		if res, err := p.wait(); err != nil || res.Swap != 100*time.Second {
			r.Errorf("%+v, error %v", res, err)
		}
	})
}

func TestQueueTimeIsReported(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		run := r.hold(testengine.Run, "a")
		first := r.start("a")
		second := r.start("a")
		time.Sleep(3 * time.Second)
		run <- nil
		if res, err := first.wait(); err != nil || res.Compute != 3*time.Second || res.Queue != 0 {
			r.Errorf("first: %+v, error %v", res, err)
		}
		time.Sleep(2 * time.Second)
		run <- nil
		if res, err := second.wait(); err != nil || res.Queue != 3*time.Second || res.Compute != 2*time.Second || res.Swap != 0 {
			r.Errorf("second: %+v, error %v", res, err)
		}
		close(run)
	})
}

func TestLoadTimeout(t *testing.T) {
	for _, op := range []testengine.Op{testengine.Open, testengine.Load} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 60)
				gate := r.hold(op, "a")
				before := time.Now()
				_, err := r.infer(r.Context(), "a")
				if waited := time.Since(before); !errors.Is(err, context.DeadlineExceeded) || waited != 2*time.Minute {
					r.Errorf("error %v after %v, want DeadlineExceeded after 2m", err, waited)
				}
				r.wantState("a", api.StateFailed)
				close(gate)
			})
		})
	}
}

func TestPanicOfTheEngineLeavesNoLease(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		r.want("a", api.CacheLoad)
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if c.Op == testengine.Run && c.Model == "a" {
				panic("engine")
			}
			return nil
		}
		func() {
			defer func() {
				if recover() == nil {
					r.Error("the panic was swallowed")
				}
			}()
			r.infer(r.Context(), "a")
		}()
		r.want("b", api.CacheLoad) // a can leave, the device is free
		if n := r.m.Status().Models["a"].Stats.Failures; n != 1 {
			r.Errorf("%d failures, want 1", n)
		}
	})
}

// TestHitsDoNotStarveALoad: clients that never stop asking for a resident model
// hold up one that needs its bytes by the requests that are there already.
func TestHitsDoNotStarveALoad(t *testing.T) {
	for name, order := range map[string]func(*Config, *testengine.Engine){
		"fifo": ordered(byFIFO, lru), "rrc": ordered(byRRC, torpor), "slo": ordered(bySLO, gdsf),
	} {
		t.Run(name, func(t *testing.T) { hitsDoNotStarveALoad(t, order) })
	}
}

func hitsDoNotStarveALoad(t *testing.T, order func(*Config, *testengine.Engine)) {
	inBubble(t, func(r *rig) {
		r.add("popular", 60)
		r.add("rare", 60)
		r.want("popular", api.CacheLoad)
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if c.Op == testengine.Run {
				time.Sleep(time.Second)
			}
			return nil
		}
		ctx, cancel := context.WithCancel(r.Context())
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for ctx.Err() == nil {
					if _, err := r.infer(ctx, "popular"); err != nil && ctx.Err() == nil {
						r.Error(err)
					}
				}
			})
		}
		for range 5 {
			time.Sleep(10 * time.Second)
			before := time.Now()
			if _, err := r.infer(r.Context(), "rare"); err != nil {
				r.Error(err)
			}
			if took := time.Since(before); took > 10*time.Second {
				r.Errorf("rare waited %v behind 8 clients of a second each", took)
			}
		}
		cancel()
		clients.Wait()
	}, order)
}
