package cachemgr

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestStatusIsImmutableAndTellsOfChanges(t *testing.T) {
	inBubble(t, func(r *rig) {
		first := r.m.Status()
		select {
		case <-r.m.Changed(first.Generation - 1):
		default:
			r.Error("a change of the past is not told")
		}
		changed := r.m.Changed(first.Generation)
		select {
		case <-changed:
			r.Error("told of a change that is to come")
		default:
		}
		r.add("a", 60)
		<-changed
		second := r.m.Status()
		if second.Generation <= first.Generation || len(second.Models) != 1 || len(first.Models) != 0 {
			r.Errorf("first %+v, second %+v", first, second)
		}
		r.want("a", api.CacheLoad)
		third := r.m.Status()
		if second.Models["a"].Stats.Loads != 0 || third.Models["a"].Stats.Loads != 1 || second.Devices[0].Resident != 0 || third.Devices[0].Resident != 60 {
			r.Errorf("second %+v, third %+v", second, third)
		}
		if again := r.m.Status(); again.Generation != third.Generation {
			r.Error("the generation grew without a change")
		}
		if err := r.m.Forget("a"); err != nil {
			r.Fatal(err)
		}
		r.add("b", 1)
		if fourth := r.m.Status(); len(fourth.Models) != 1 || fourth.Models["b"].Bytes != 1 || len(third.Models) != 1 {
			r.Errorf("third %+v, fourth %+v", third, fourth)
		}
	})
}

// TestStreamSeesTheEnd follows the changes as a stream would, and must have seen
// the last state when nothing changes any more.
func TestStreamSeesTheEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		var seen []Status
		stop := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			st := r.m.Status()
			for {
				select {
				case <-r.m.Changed(st.Generation):
					st = r.m.Status()
					seen = append(seen, st)
				case <-stop:
					return
				}
			}
		}()
		for range 10 {
			for _, name := range []string{"a", "b"} {
				if _, err := r.infer(r.Context(), name); err != nil {
					r.Fatal(err)
				}
			}
		}
		synctest.Wait()
		close(stop)
		<-stopped
		last := seen[len(seen)-1]
		if a := last.Models["a"].Stats; a.Loads != 1 || a.Swaps != 9 || last.Devices[0].Running != 0 {
			r.Errorf("the last status seen is %+v", last)
		}
		if !slices.IsSortedFunc(seen, func(a, b Status) int { return int(a.Generation) - int(b.Generation) }) {
			r.Error("generations do not grow")
		}
	})
}

// TestStatusTellsCosts: what a model took to be staged, to be loaded and to run is
// there for those who price requests.
func TestStatusTellsCosts(t *testing.T) {
	takes := map[testengine.Op]time.Duration{testengine.Open: 3, testengine.Load: 5, testengine.Run: 2}
	inBubble(t, func(r *rig) {
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			time.Sleep(takes[c.Op] * time.Millisecond)
			return nil
		}
		r.add("a", 60)
		r.want("a", api.CacheLoad)
		r.want("a", api.CacheHit)
		m := r.m.Status().Models["a"]
		if m.StageNs != 3e6 || len(m.Instances) != 1 {
			r.Fatalf("got %+v", m)
		}
		if i := m.Instances[0]; i.SwapNs != 5e6 || i.SwapBytes != 60 || i.Runs != 2 || i.ComputeNs != 4e6 {
			r.Errorf("got %+v", i)
		}
	})
}
