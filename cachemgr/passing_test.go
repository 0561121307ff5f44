package cachemgr

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// TestSmallOnesPassWhoIsInNoHurry: a request that has to wait for models in use does
// not hold up one that needs less, until it presses; and no idle model leaves in vain.
func TestSmallOnesPassWhoIsInNoHurry(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("busy", 60)
		r.add("idle", 20)
		r.add("large", 90)
		r.add("small", 15)
		r.add("medium", 25)
		r.want("idle", api.CacheLoad)
		run := r.hold(testengine.Run, "busy")
		busy := r.start("busy")

		large := r.start("large")
		r.wantState("idle", api.StateResident) // 20 bytes are not enough for it
		small := r.start("small")
		if res, err := small.wait(); err != nil || res.Swap+res.Queue > 0 {
			r.Errorf("small: %+v, %v", res, err)
		}
		r.wantState("idle", api.StateResident)
		medium := r.start("medium")
		if res, err := medium.wait(); err != nil || res.Swap+res.Queue > 0 {
			r.Errorf("medium: %+v, %v", res, err)
		}
		r.wantState("idle", api.StateStaged) // for medium

		time.Sleep(queue.Patience/2 + time.Millisecond)
		late := r.start("idle") // and with it the queue is looked at, in which large presses
		r.wantState("busy", api.StateDraining)
		synctest.Wait()
		if large.isDone() || late.isDone() {
			r.Error("somebody passed who is pressing")
		}
		close(run)
		for _, p := range []*pending{busy, large, late} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
	}, ordered(bySLO, lru), func(c *Config, _ *testengine.Engine) { c.Concurrency = 2 })
}
