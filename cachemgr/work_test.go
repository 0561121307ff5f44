package cachemgr

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// TestStallsAreCounted: while a model is loaded and nothing computes the device
// stalls; while another computes it does not.
func TestStallsAreCounted(t *testing.T) {
	inBubble(t, func(r *rig) {
		work := func() Work {
			synctest.Wait()
			r.m.mu.Lock() // a snapshot would be kept until something changes
			defer r.m.mu.Unlock()
			return r.m.devices[0].workDone(r.m.clock())
		}
		r.add("a", 40)
		r.add("b", 40)
		loadA, loadB, runA := r.hold(testengine.Load, "a"), r.hold(testengine.Load, "b"), r.hold(testengine.Run, "a")
		a := r.start("a")
		time.Sleep(3 * time.Second)
		if w := work(); w.Stalled != 3*time.Second || w.ForModel != 1 || w.ForTurn != 0 || w.Light != 1 {
			r.Errorf("while a is loaded: %+v", w)
		}
		close(loadA)
		synctest.Wait()
		b, second := r.start("b"), r.start("a")
		time.Sleep(5 * time.Second)
		if w := work(); w.Stalled != 3*time.Second || w.ForModel != 1 || w.ForTurn != 1 {
			r.Errorf("while a runs: %+v", w)
		}
		close(runA)
		time.Sleep(time.Second)
		if w := work(); w.Stalled != 4*time.Second {
			r.Errorf("after a has run: %+v", w)
		}
		close(loadB)
		for _, p := range []*pending{a, b, second} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
		time.Sleep(time.Second)
		if w := work(); w.Stalled != 4*time.Second || w.ForModel+w.ForTurn != 0 {
			r.Errorf("at the end: %+v", w)
		}
	})
}
