package cachemgr

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// TestEveryRequestCounts: whatever becomes of a request, it was sent; it was met if
// it was answered in time.
func TestEveryRequestCounts(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.slo = 2 * time.Second
		r.add("a", 60)
		want := func(what string, sent, met int64) {
			r.Helper()
			r.m.mu.Lock()
			defer r.m.mu.Unlock()
			now := r.m.clock()
			if gotSent, gotMet := r.m.book.Function(now, "a").Counts(now); gotSent != sent || gotMet != met {
				r.Errorf("%s: %d sent, %d met; want %d and %d", what, gotSent, gotMet, sent, met)
			}
		}
		r.want("a", api.CacheLoad)
		r.want("a", api.CacheHit)
		want("answered", 2, 2)
		run := r.hold(testengine.Run, "a")
		late, gone := r.start("a"), r.start("a")
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, ErrOverloaded) {
			r.Error(err)
		}
		want("refused", 3, 2)
		gone.cancel()
		gone.wait()
		want("given up", 4, 2)
		time.Sleep(3 * time.Second)
		run <- nil
		late.wait()
		want("late", 5, 2)
		failed := r.start("a")
		run <- errInjected
		failed.wait()
		want("failed", 6, 2)
		running, waits := r.start("a"), r.start("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		want("waited for too long", 7, 2)
		running.cancel()
		waits.wait()
		running.wait()
		want("given up while it ran", 8, 2)
		close(run)
		r.slo = 0
		r.want("a", api.CacheHit)
		want("without an objective", 9, 3)
		if _, err := r.m.Infer(context.Background(), Request{Digest: "none", Function: "a"}); !errors.Is(err, ErrUnknownModel) {
			r.Error(err)
		}
		want("unknown", 10, 3)
	}, func(c *Config, _ *testengine.Engine) { c.QueueDepth = 1 })
}

// TestUrgentGoesFirst: by objectives, the request that has to be begun first is
// loaded first and computes first; by arrival it is not.
func TestUrgentGoesFirst(t *testing.T) {
	for _, c := range []struct {
		name  string
		order func(*Config, *testengine.Engine)
		first string
	}{{"slo", ordered(bySLO, gdsf), "urgent"}, {"fifo", ordered(byFIFO, gdsf), "patient"}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				w := newWire(r.engine, time.Millisecond, time.Millisecond)
				for _, name := range []string{"busy", "patient", "urgent"} {
					r.add(name, 60)
					r.want(name, api.CacheLoad)
					r.want(name, api.CacheHit)
				}
				w.compute = func(string) time.Duration { return 10 * time.Millisecond }
				w.reset()
				all := []*pending{r.start("busy")}
				for _, p := range []struct {
					name string
					slo  time.Duration
				}{{"patient", time.Second}, {"urgent", 50 * time.Millisecond}} {
					r.slo = p.slo
					all = append(all, r.start(p.name))
				}
				for _, p := range all {
					p.wait()
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if len(w.order) != 3 || w.order[1] != c.first {
					r.Errorf("loaded in the order %v", w.order)
				}
			}, c.order, roomy)
		})
	}
}

// TestModelsInUseGiveWayLate: by objectives, a request that can wait does not take a
// model from those that use it, before half of its time is over; then it does.
func TestModelsInUseGiveWayLate(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("used", 60)
		r.add("other", 60)
		r.want("other", api.CacheLoad)
		r.want("used", api.CacheLoad)
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if c.Op == testengine.Run {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}
		ctx, cancel := context.WithCancel(r.Context())
		for range 2 { // one of them always waits
			go func() {
				for ctx.Err() == nil {
					_, _ = r.m.Infer(ctx, used())
				}
			}()
		}
		time.Sleep(5 * time.Millisecond)
		r.slo = 400 * time.Millisecond
		began := time.Now()
		other := r.start("other")
		for r.state("used") == api.StateResident {
			time.Sleep(time.Millisecond)
		}
		if after := time.Since(began); after < 190*time.Millisecond || after > 230*time.Millisecond {
			r.Errorf("the model in use had to leave after %v, want 200 ms", after)
		}
		if _, err := other.wait(); err != nil || time.Since(began) > r.slo {
			r.Errorf("answered after %v, %v", time.Since(began), err)
		}
		cancel()
		synctest.Wait()
	}, ordered(bySLO, gdsf), func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{{ID: "cpu", TotalBytes: 100, FreeBytes: 100}}
	})
}

// used is a request for the model "used", of a function without an objective.
func used() Request {
	in, out := testTensors()
	return Request{Digest: "used", In: in, Out: out}
}
