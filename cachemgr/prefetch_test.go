package cachemgr

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// periodic asks for "a" every ten seconds, and two seconds after each time for
// another model, which takes its bytes; it returns how often a was resident in the
// second half.
func periodic(r *rig, rounds int) (hits int) {
	newWire(r.engine, 100*time.Millisecond, 10*time.Millisecond)
	r.add("a", 60)
	for i := range rounds {
		res, err := r.infer(r.Context(), "a")
		if err != nil {
			r.Fatal(err)
		}
		if i >= rounds/2 && res.Outcome == api.CacheHit {
			hits++
		}
		time.Sleep(2 * time.Second)
		other := fmt.Sprint("other", i)
		r.add(other, 60)
		r.want(other, api.CacheLoad)
		if i == rounds-1 {
			break
		}
		time.Sleep(time.Until(r.m.began.Add(time.Duration(i+1) * 10 * time.Second)))
	}
	return hits
}

// roomy lets all models be staged.
func roomy(c *Config, _ *testengine.Engine) { c.HostBudget = 1 << 20 }

func (r *rig) work() Work {
	synctest.Wait()
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	return r.m.devices[0].workDone(r.m.clock())
}

func TestPrefetchOfWhatIsExpected(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("off is %v", off), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				hits, w := periodic(r, 40), r.work()
				switch {
				case off && (w.Prefetched != 0 || hits > 2):
					r.Errorf("%d hits, %+v", hits, w)
				case !off && (hits != 20 || w.Useful < 20 || w.Wasted > w.Useful/4):
					r.Errorf("%d hits of 20, %+v", hits, w)
				}
				r.check()
			}, roomy, func(c *Config, _ *testengine.Engine) { c.NoPrefetch = off })
		})
	}
}

// TestPrefetchWasted: a model that was expected and not asked for.
func TestPrefetchWasted(t *testing.T) {
	inBubble(t, func(r *rig) {
		periodic(r, 20)
		before := r.work()
		time.Sleep(time.Hour)
		r.wantState("a", api.StateResident) // it came back at its time
		r.want("other19", api.CacheSwap)
		if w := r.work(); w.Prefetched != before.Prefetched+1 || w.Wasted != before.Wasted+1 || w.Useful != before.Useful {
			r.Errorf("%+v, before %+v", w, before)
		}
	}, roomy)
}

// TestPrefetchIsInNobodysWay: not in that of who waits for a model, of a model in
// use, of one that is pinned, and of one that is expected at the same time.
func TestPrefetchIsInNobodysWay(t *testing.T) {
	for _, c := range []struct {
		name string
		keep func(r *rig) (release func())
	}{
		{"in use", func(r *rig) func() {
			run := r.hold(testengine.Run, "c")
			p := r.start("c")
			return func() { close(run); p.wait() }
		}},
		{"pinned", func(r *rig) func() {
			r.want("c", api.CacheLoad)
			if err := r.m.Pin("c", true); err != nil {
				r.Fatal(err)
			}
			return func() {}
		}},
		{"somebody waits", func(r *rig) func() {
			load := r.hold(testengine.Load, "c")
			p := r.start("c")
			return func() { close(load); p.wait() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				periodic(r, 20)
				r.engine.Before = r.pass
				r.add("c", 50)
				release := c.keep(r)
				before := r.work()
				time.Sleep(time.Hour)
				if w := r.work(); w.Prefetched != before.Prefetched {
					r.Errorf("%+v, before %+v", w, before)
				}
				release()
			}, roomy)
		})
	}
}

// TestPrefetchThatFails is nobody's failure.
func TestPrefetchThatFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		periodic(r, 20)
		r.engine.Before = r.pass
		load := r.hold(testengine.Load, "a")
		before := r.work()
		go func() { load <- engine.ErrNoMemory; close(load) }()
		time.Sleep(time.Minute)
		if w := r.work(); w.Prefetched != before.Prefetched+1 || w.Wasted != before.Wasted+1 {
			r.Errorf("%+v, before %+v", w, before)
		}
		r.want("a", api.CacheSwap)
	}, roomy)
}
