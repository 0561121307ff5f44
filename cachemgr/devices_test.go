package cachemgr

import (
	"context"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestDeviceConcurrency(t *testing.T) {
	for _, c := range []struct {
		name              string
		device, model     int
		wantA, wantB, all int // running of a and b while 3 of a and then 1 of b were asked for
	}{
		{"one at a time", 1, 3, 1, 0, 1},
		{"the model allows one", 3, 1, 1, 1, 2},
		{"both allow two", 2, 2, 2, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				for _, name := range []string{"a", "b"} {
					r.addAs(name, testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, Concurrency: c.model})
					r.want(name, api.CacheLoad)
				}
				runA, runB := r.hold(testengine.Run, "a"), r.hold(testengine.Run, "b")
				var all []*pending
				for _, name := range []string{"a", "a", "a", "b"} {
					all = append(all, r.start(name))
				}
				st := r.m.Status()
				a, b := st.Models["a"].Instances[0].Running, st.Models["b"].Instances[0].Running
				if d := st.Devices[0]; a != c.wantA || b != c.wantB || d.Running != c.all || d.Queued != 4-c.all {
					r.Errorf("%d and %d run, %d in all, %d queued; want %d, %d, %d, %d", a, b, d.Running, d.Queued, c.wantA, c.wantB, c.all, 4-c.all)
				}
				close(runA)
				close(runB)
				for _, p := range all {
					if _, err := p.wait(); err != nil {
						r.Error(err)
					}
				}
			}, func(cfg *Config, _ *testengine.Engine) { cfg.Concurrency = c.device })
		})
	}
}

func TestDevices(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		r.add("c", 150)
		on := func(name string, hint, want engine.DeviceID) {
			r.Helper()
			in, out := testTensors()
			res, err := r.m.Infer(r.Context(), Request{Digest: name, Device: hint, In: in, Out: out})
			if err != nil || res.Device != want {
				r.Errorf("%s ran on %s with error %v, want %s", name, res.Device, err, want)
			}
		}
		on("a", "", "large")      // most room
		on("a", "", "large")      // resident
		on("b", "small", "small") // as told
		on("b", "", "small")
		on("a", "small", "small") // as told, b leaves
		on("c", "small", "large") // does not fit where it was told to
		on("c", "nowhere", "large")
	}, func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{
			{ID: "small", TotalBytes: 100, FreeBytes: 100}, {ID: "large", TotalBytes: 200, FreeBytes: 200},
		}
		c.DeviceBudget = func(d engine.Device) int64 { return d.TotalBytes }
	})
}

func TestLoadOnTwoDevicesAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		done := make(chan error, 2)
		for _, d := range []engine.DeviceID{"one", "two"} {
			go func() { done <- r.m.Load(ctx, "a", d) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				r.Error(err)
			}
		}
		if n := len(r.m.Status().Models["a"].Instances); n != 2 {
			r.Errorf("%d instances, want one on each device", n)
		}
		if n := r.engine.Calls(testengine.Call{Op: testengine.Open, Model: "a"}); n != 1 {
			r.Errorf("opened %d times", n)
		}
	}, func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{{ID: "one", FreeBytes: 100}, {ID: "two", FreeBytes: 100}}
	})
}
