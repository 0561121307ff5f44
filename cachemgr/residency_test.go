package cachemgr

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestHitSwapLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		r.want("a", api.CacheLoad)
		r.want("a", api.CacheHit)
		r.want("b", api.CacheLoad)
		r.wantState("a", api.StateStaged)
		r.want("a", api.CacheSwap)
		r.wantState("b", api.StateStaged)
		st := r.m.Status().Models["a"].Stats
		if st.Hits != 1 || st.Loads != 1 || st.Swaps != 1 || st.Evictions != 1 || st.SwapBytes != 120 || st.Failures != 0 || st.LastUsed == "" {
			r.Errorf("stats %+v", st)
		}
	})
}

func TestStates(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{Cost: engine.Cost{Peak: 80, Resident: 60, Residual: 5, Host: 50, Estimated: true}})
		r.add("b", 60)
		open, load, run := r.hold(testengine.Open, "a"), r.hold(testengine.Load, "a"), r.hold(testengine.Run, "a")

		r.wantState("a", api.StateAbsent)
		first := r.start("a")
		r.wantState("a", api.StateAbsent)
		open <- nil
		r.wantState("a", api.StateLoading)
		r.wantBytes(api.DeviceStatus{Loading: 80, Queued: 1})
		load <- nil
		r.wantState("a", api.StateResident)
		r.wantBytes(api.DeviceStatus{Resident: 60, Running: 1})
		other := r.start("b") // b does not fit beside a, which is in use
		r.wantState("a", api.StateDraining)
		r.wantBytes(api.DeviceStatus{Draining: 60, Running: 1, Queued: 1})
		evict := r.hold(testengine.Evict, "a")
		run <- nil
		if _, err := first.wait(); err != nil {
			r.Error(err)
		}
		r.wantState("a", api.StateDraining)
		evict <- nil
		r.wantState("a", api.StateParked)
		if _, err := other.wait(); err != nil {
			r.Error(err)
		}
		r.wantBytes(api.DeviceStatus{Resident: 60, Residual: 5})
		if err := r.m.Unload(r.Context(), "a"); err != nil {
			r.Error(err)
		}
		r.wantState("a", api.StateAbsent)
		r.wantBytes(api.DeviceStatus{Resident: 60})
		close(open)
		close(load)
		close(run)
		close(evict)
		r.want("a", api.CacheLoad)
	})
}

// wantBytes compares the numbers of the device "cpu".
func (r *rig) wantBytes(want api.DeviceStatus) {
	r.Helper()
	synctest.Wait()
	got := r.m.Status().Devices[0]
	want.ID, want.Name, want.Kind, want.Engine, want.Total, want.Budget = got.ID, got.Name, got.Kind, got.Engine, got.Total, got.Budget
	want.Overhead, want.Slots = got.Overhead, 1 // as configured
	if got != want {
		r.Errorf("device has %+v, want %+v", got, want)
	}
}

func TestManyWaitersShareOneLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		open, load := r.hold(testengine.Open, "a"), r.hold(testengine.Load, "a")
		var all []*pending
		for range 5 {
			all = append(all, r.start("a"))
		}
		time.Sleep(time.Second)
		open <- nil
		synctest.Wait()
		for range 5 {
			all = append(all, r.start("a"))
		}
		time.Sleep(2 * time.Second)
		load <- nil
		for i, p := range all {
			res, err := p.wait()
			outcome, swap := api.CacheLoad, 3*time.Second
			if i >= 5 {
				outcome, swap = api.CacheSwap, 2*time.Second
			}
			if err != nil || res.Outcome != outcome || res.Swap != swap || res.Queue != 0 {
				r.Errorf("request %d: %+v and error %v, want %s after %v", i, res, err, outcome, swap)
			}
		}
		if n := r.engine.Calls(testengine.Call{Op: testengine.Open, Model: "a"}); n != 1 {
			r.Errorf("opened %d times", n)
		}
		if n := r.engine.Calls(testengine.Call{Op: testengine.Load, Model: "a", Device: "cpu"}); n != 1 {
			r.Errorf("loaded %d times", n)
		}
	})
}

func TestArrivalBeforeTheOpeningIsALoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		arrived := time.Now()
		time.Sleep(time.Second)
		if _, err := r.m.Spec(r.Context(), "a"); err != nil {
			r.Fatal(err)
		}
		if err := r.m.Load(r.Context(), "a", ""); err != nil {
			r.Fatal(err)
		}
		for _, c := range []struct {
			arrived time.Time
			want    string
		}{{arrived, api.CacheLoad}, {time.Now(), api.CacheHit}, {time.Time{}, api.CacheHit}} {
			in, out := testTensors()
			res, err := r.m.Infer(r.Context(), Request{Digest: "a", Arrived: c.arrived, In: in, Out: out})
			if err != nil || res.Outcome != c.want {
				r.Errorf("arrived %v: %s and error %v, want %s", c.arrived, res.Outcome, err, c.want)
			}
		}
	})
}

func TestComputeGoesOnWhileOthersLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 40)
		r.add("b", 40)
		r.add("c", 90)
		r.want("a", api.CacheLoad)
		load := r.hold(testengine.Load, "b")
		b := r.start("b")
		r.wantState("b", api.StateLoading)
		r.want("a", api.CacheHit)
		c := r.start("c") // waits for bytes that b holds
		if c.isDone() {
			r.Error("c did not wait")
		}
		close(load)
		for _, p := range []*pending{b, c} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
	})
}

func TestHitsPassByWhoWaitsForBytes(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("pinned", 40)
		r.add("a", 60)
		r.add("b", 60)
		if err := r.m.Pin("pinned", true); err != nil {
			r.Fatal(err)
		}
		r.want("pinned", api.CacheLoad)
		load := r.hold(testengine.Load, "a")
		a, b := r.start("a"), r.start("b")
		r.want("pinned", api.CacheHit)
		if a.isDone() || b.isDone() {
			r.Error("a or b did not wait")
		}
		close(load)
		a.wait()
		b.wait()
	})
}

func TestRequestsForADrainingModelQueueBehindTheLoader(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		run := r.hold(testengine.Run, "a")
		first := r.start("a")
		b := r.start("b")
		second := r.start("a")
		runB := r.hold(testengine.Run, "b")
		run <- nil
		first.wait()
		r.wantState("b", api.StateDraining) // resident, and a wants to be back
		if second.isDone() {
			r.Error("a overtook b")
		}
		close(runB)
		close(run)
		for _, p := range []*pending{b, second} {
			if res, err := p.wait(); err != nil || p == second && res.Outcome != api.CacheSwap {
				r.Errorf("%+v, error %v", res, err)
			}
		}
	})
}

func TestADrainIsTakenBackWhenNobodyNeedsItAnyMore(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		run := r.hold(testengine.Run, "a")
		first := r.start("a")
		b := r.start("b")
		second := r.start("a")
		r.wantState("a", api.StateDraining)
		b.cancel()
		r.wantState("a", api.StateResident)
		close(run)
		for _, p := range []*pending{first, second} {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
		r.want("a", api.CacheHit)
		if n := r.m.Status().Models["a"].Stats.Evictions; n != 0 {
			r.Errorf("%d evictions, want none", n)
		}
	})
}

func TestBytesAreGivenInOrderOfArrival(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("busy", 50)
		r.add("big", 90)
		r.add("small", 10)
		r.want("small", api.CacheLoad)
		if err := r.m.Unload(r.Context(), "small"); err != nil {
			r.Fatal(err)
		}
		run := r.hold(testengine.Run, "busy")
		busy := r.start("busy")
		runBig := r.hold(testengine.Run, "big")
		big := r.start("big")
		small := r.start("small") // would fit, but came later
		if small.isDone() {
			r.Error("small overtook big")
		}
		run <- nil
		busy.wait()
		r.wantState("big", api.StateResident)
		close(runBig)
		big.wait()
		small.wait()
	}, func(c *Config, _ *testengine.Engine) { c.Concurrency = 2 })
}

func TestEvictionFollowsThePolicy(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, name := range []string{"a", "b", "c"} {
			r.add(name, 30)
			r.want(name, api.CacheLoad)
		}
		r.want("a", api.CacheHit)
		if err := r.m.Load(r.Context(), "b", ""); err != nil { // a use too
			r.Fatal(err)
		}
		r.add("d", 30)
		r.want("d", api.CacheLoad)
		r.wantState("c", api.StateStaged)
		r.add("e", 60)
		r.want("e", api.CacheLoad)
		r.wantState("a", api.StateStaged)
		r.wantState("b", api.StateStaged)
		r.wantState("d", api.StateResident)
	})
}
