package fleet

import (
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// two is a fleet of one node with two devices and a model on none.
func two() (*Fleet, *picture) {
	f, p := New(Config{Spare: 1}), newPicture()
	p.take(f.Heard("a", api.NodeStatus{
		Node: "n", Full: true, Devices: []api.DeviceStatus{{ID: "g0", Budget: 1}, {ID: "g1", Budget: 1}},
		Models: []api.ModelStatus{{Digest: "x", Size: 1}},
	}))
	return f, p
}

func TestAnswersCorrectThePicture(t *testing.T) {
	f, p := two()
	p.resident["x@n/g0"] = true // a scheduler expects that of its dispatch
	p.take(f.Answered(Answer{Given: "n/g0", Model: "x", Cache: api.CacheSwap, Device: "g0"}))
	if !p.resident["x@n/g0"] {
		t.Error("the model was there")
	}
	if events := f.Answered(Answer{Given: "n/g0", Model: "x", Cache: api.CacheHit, Device: "g0"}); len(events) > 0 {
		t.Errorf("what is known is told again: %+v", events)
	}
	// The node took the other device.
	f, p = two()
	p.resident["x@n/g0"] = true
	p.take(f.Answered(Answer{Given: "n/g0", Model: "x", Cache: api.CacheLoad, Device: "g1"}))
	if p.resident["x@n/g0"] || !p.resident["x@n/g1"] {
		t.Errorf("got %v, want it on g1 only", p.resident)
	}
	// Nothing came of it, or another engine answered.
	for _, cache := range []string{"", api.CacheFallback} {
		f, p = two()
		p.resident["x@n/g0"] = true
		if p.take(f.Answered(Answer{Given: "n/g0", Model: "x", Cache: cache, Device: "cpu"})); len(p.resident) > 0 {
			t.Errorf("%q: got %v", cache, p.resident)
		}
	}
	// What the node says later holds.
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Models: []api.ModelStatus{{Digest: "x", Size: 1, Instances: []api.InstanceStatus{{Device: "g1", State: api.StateResident}}}}}))
	if len(p.resident) != 1 || !p.resident["x@n/g1"] {
		t.Errorf("got %v", p.resident)
	}
	for _, a := range []Answer{{}, {Given: "n/g0", Model: "y"}, {Given: "m/g0", Model: "x"}} {
		if events := f.Answered(a); events != nil {
			t.Errorf("%+v: %+v", a, events)
		}
	}
}

func TestFirstAnswersArePrices(t *testing.T) {
	f, p := two()
	p.take(f.Answered(Answer{Given: "n/g0", Model: "x", Cache: api.CacheHit, Device: "g0", Timing: api.Timing{Compute: 40 * time.Millisecond}}))
	if got := p.models["x"].Prices; len(got) != 1 || got[0].Compute != 40*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}

// TestCreditsKeepDevicesBusy: a device gets as many requests as are under way
// while one computes, and one to fetch for.
func TestCreditsKeepDevicesBusy(t *testing.T) {
	for _, c := range []struct {
		took, queue, compute time.Duration
		want                 int
	}{
		{10 * time.Millisecond, 0, 10 * time.Millisecond, 2},
		{11 * time.Millisecond, 0, 10 * time.Millisecond, 2},
		{50 * time.Millisecond, 39 * time.Millisecond, 10 * time.Millisecond, 2}, // that was waiting
		{40 * time.Millisecond, 0, 10 * time.Millisecond, 5},
		{time.Second, 0, time.Millisecond, 1 + mostOnTheWay},
		{time.Millisecond, 0, 2 * time.Millisecond, 2}, // nonsense
	} {
		f, p := two()
		for range settled + 1 {
			p.take(f.Answered(Answer{
				Given: "n/g0", Model: "x", Cache: api.CacheHit, Device: "g0", Took: c.took, Timing: api.Timing{Queue: c.queue, Compute: c.compute},
			}))
		}
		if got := p.devices["n/g0"].Credits; got != c.want {
			t.Errorf("%v of which %v wait and %v compute: %d credits, want %d", c.took, c.queue, c.compute, got, c.want)
		}
	}
	f := New(Config{Credits: 7, Spare: 1})
	events := f.Heard("a", api.NodeStatus{Node: "n", Full: true, Devices: []api.DeviceStatus{{ID: "g", Slots: 2}}})
	if len(events) == 0 || events[0].Devices[0].Credits != 7 {
		t.Errorf("configured 7, got %+v", events)
	}
}

func TestFind(t *testing.T) {
	f := New(Config{})
	now := api.FunctionRef{Namespace: "ns", Name: "f", UID: "2"}
	before := api.FunctionRef{Namespace: "ns", Name: "f", UID: "1"}
	name := func(ref api.FunctionRef, name, version, slo string) api.ModelName {
		return api.ModelName{Function: ref, Name: name, Version: version, SLO: slo}
	}
	for _, address := range []string{"a", "b"} {
		f.Heard(address, api.NodeStatus{Node: address, Full: true, Models: []api.ModelStatus{
			{Digest: "v9", Names: []api.ModelName{name(now, "m", "9", ""), name(before, "old", "1", "")}},
			{Digest: "v10", Names: []api.ModelName{name(now, "m", "10", "80ms")}},
			{Digest: "draft", Names: []api.ModelName{name(now, "m", "draft", "")}},
		}})
	}
	refs := []api.FunctionRef{now, before}
	find := func(model, version string) string {
		m, _ := f.Find(refs, model, version)
		return m.Digest
	}
	for _, c := range []struct{ model, version, want string }{
		{"m", "", "v10"}, {"", "", "v10"}, {"m", "9", "v9"}, {"m", "draft", "draft"}, {"m", "11", ""}, {"old", "", "v9"}, {"no", "", ""},
	} {
		if got := find(c.model, c.version); got != c.want {
			t.Errorf("%q version %q is %q, want %q", c.model, c.version, got, c.want)
		}
	}
	if m, _ := f.Find(refs, "m", ""); m.SLO != 80*time.Millisecond {
		t.Errorf("its SLO is %v", m.SLO)
	}
	f.Lost("a")
	if find("m", "") != "v10" {
		t.Error("gone with the first of two nodes that have it")
	}
	if events := f.Lost("b"); find("m", "") != "" || len(f.names) != 0 || events[len(events)-1].Kind != sched.Prices {
		t.Errorf("left: %v", f.names)
	}
	// Two models and no name: nobody can say.
	f.Heard("a", api.NodeStatus{Node: "a", Full: true, Models: []api.ModelStatus{
		{Digest: "p", Names: []api.ModelName{name(now, "p", "1", "")}}, {Digest: "q", Names: []api.ModelName{name(now, "q", "1", "")}},
	}})
	if find("", "") != "" || find("q", "") != "q" {
		t.Errorf("got %q and %q", find("", ""), find("q", ""))
	}
}

func TestPlaces(t *testing.T) {
	f := New(Config{})
	ref := api.FunctionRef{Namespace: "ns", Name: "f", UID: "1"}
	names := func(version string) []api.ModelName {
		return []api.ModelName{{Function: ref, Name: "m", Version: version}}
	}
	gpu := api.DeviceStatus{ID: "gpu", Budget: 1000, Resident: 300, Loading: 100, Residual: 50, Running: 1, Queued: 2, Slots: 3}
	f.Heard("b", api.NodeStatus{Node: "b", Full: true, Host: &api.PoolStatus{Budget: 500, Used: 100}, Devices: []api.DeviceStatus{gpu}, Models: []api.ModelStatus{
		{Digest: "new", Size: 10, Bytes: 200, Names: names("2"), Staged: true, Instances: []api.InstanceStatus{{Device: "gpu", State: api.StateResident}}},
		{Digest: "old", Size: 10, Bytes: 200, Names: names("1")},
	}})
	f.Heard("a", api.NodeStatus{Node: "a", Full: true, Devices: []api.DeviceStatus{{ID: "cpu"}}})
	want, nodes := f.Places([]api.FunctionRef{{Name: "new revision"}, ref}, map[string]int{"b": 2})
	if len(want.Models) != 1 || want.Models[0].Name != "new" || want.Models[0].Bytes != 200 || len(nodes) != 2 {
		t.Fatalf("got %+v and %+v", want, nodes)
	}
	a, b := nodes[0], nodes[1]
	if a.Name != "a" || a.Stored["new"] || a.Replicas != 0 {
		t.Errorf("a is %+v", a)
	}
	if b.Free != 400 || b.Replicas != 2 || !b.Stored["new"] || !b.Staged["new"] || !b.Devices[0].Resident["new"] ||
		b.Devices[0].Free != 550 || b.Devices[0].Wait != 5*time.Millisecond || b.Devices[0].Prices["new"].Send != 100 {
		t.Errorf("b is %+v", b)
	}
}
