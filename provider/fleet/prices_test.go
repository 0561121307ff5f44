package fleet

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// one is a fleet of one node with one device, which has told of a model.
func one(t *testing.T) (*Fleet, *picture) {
	t.Helper()
	f, p := New(Config{Spare: 1}), newPicture()
	p.take(f.Heard("a", api.NodeStatus{
		Node: "n", Full: true, Devices: []api.DeviceStatus{{ID: "gpu", Name: "H", Engine: "e", Budget: 1 << 30, Slots: 2}},
		Models: []api.ModelStatus{{Digest: "x", Size: 100e6, Bytes: 80e6}},
	}))
	return f, p
}

func (p *picture) price(t *testing.T, model string) sched.Price {
	t.Helper()
	if len(p.models[model].Prices) != 1 {
		t.Fatalf("%s has %+v", model, p.models[model])
	}
	return p.models[model].Prices[0]
}

func told(digest string, i api.InstanceStatus, stageNs int64) api.NodeStatus {
	i.Device, i.State = "gpu", api.StateResident
	return api.NodeStatus{Node: "n", Models: []api.ModelStatus{{
		Digest: digest, Size: 100e6, Bytes: 80e6, Staged: stageNs > 0, StageNs: stageNs, Instances: []api.InstanceStatus{i},
	}}}
}

func TestPricesAreEstimatedThenMeasured(t *testing.T) {
	f, p := one(t)
	got := p.price(t, "x")
	if !got.Estimated || got.Load != 100*time.Millisecond || got.Swap != 10*time.Millisecond || got.Compute != 5*time.Millisecond {
		t.Errorf("before anything was measured: %+v", got)
	}
	p.take(f.Heard("a", told("x", api.InstanceStatus{SwapNs: 20e6, SwapBytes: 80e6, Runs: 2, ComputeNs: 6e6}, 300e6)))
	got = p.price(t, "x")
	if got.Estimated || got.Load != 300*time.Millisecond || got.Swap != 20*time.Millisecond || got.Compute != 3*time.Millisecond {
		t.Errorf("measured: %+v", got)
	}
	if !p.resident["x@n/gpu"] || !p.staged["x@n"] {
		t.Errorf("resident %v, staged %v", p.resident, p.staged)
	}
	// Another one is priced by the rates that the first has shown: 4 bytes/ns.
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Models: []api.ModelStatus{{Digest: "y", Size: 10e6, Bytes: 40e6}}}))
	if got := p.price(t, "y"); !got.Estimated || got.Load != 30*time.Millisecond || got.Swap != 10*time.Millisecond || got.Compute != 3*time.Millisecond {
		t.Errorf("estimated by the other: %+v", got)
	}
}

func TestEstimatesFollowTheLink(t *testing.T) {
	f, p := one(t)
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Models: []api.ModelStatus{{Digest: "y", Size: 1, Bytes: 40e6}}}))
	before := p.price(t, "y").Swap
	p.take(f.Heard("a", told("x", api.InstanceStatus{SwapNs: 80e6, SwapBytes: 80e6}, 0)))
	if now := p.price(t, "y").Swap; before != 5*time.Millisecond || now != 40*time.Millisecond {
		t.Errorf("a model that was never swapped costs %v, and %v once the link is known", before, now)
	}
}

func TestNoNewsIsNotTold(t *testing.T) {
	f, _ := one(t)
	f.Heard("a", told("x", api.InstanceStatus{SwapNs: 20e6, SwapBytes: 80e6, Runs: 10, ComputeNs: 30e6}, 300e6))
	if events := f.Heard("a", told("x", api.InstanceStatus{SwapNs: 20e6, SwapBytes: 80e6, Runs: 20, ComputeNs: 61e6}, 300e6)); len(events) > 0 {
		t.Errorf("told of %+v", events)
	}
	// Counts that went back are another run's, not negative.
	events := f.Heard("a", told("x", api.InstanceStatus{SwapNs: 20e6, SwapBytes: 80e6, Runs: 8, ComputeNs: 80e6}, 300e6))
	if len(events) != 1 || events[0].Prices[0].Compute < 6*time.Millisecond {
		t.Errorf("told of %+v", events)
	}
}

func TestEstimateIsRobust(t *testing.T) {
	var e estimate
	for range 20 {
		e.add(10, 1)
	}
	if e.add(1e6, 1); e.value > 15 {
		t.Errorf("one outlier made 10 into %v", e.value)
	}
	for range 40 {
		e.add(100, 1)
	}
	if e.value < 95 {
		t.Errorf("a lasting change from 10 to 100 gave %v", e.value)
	}
	if (&estimate{}).or(7) != 7 || e.or(7) == 7 {
		t.Error("what is assumed counts only as long as nothing is known")
	}
}

func TestBudgetsThatWobbleAreNoNews(t *testing.T) {
	f, p := one(t)
	device := api.DeviceStatus{ID: "gpu", Name: "H", Engine: "e", Budget: 1<<30 - 1<<20, Slots: 2}
	if events := f.Heard("a", api.NodeStatus{Node: "n", Devices: []api.DeviceStatus{device}}); len(events) > 0 {
		t.Errorf("told of %+v", events)
	}
	device.Budget = 1 << 29
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Devices: []api.DeviceStatus{device}}))
	if d := p.devices["n/gpu"]; d.Budget != 1<<29 || d.Slots != 2 || d.Credits != 3 || d.Class != "e on H" || d.Node != "n" {
		t.Errorf("got %+v", d)
	}
}

// TestProcessorBesideAGPU: it is the node that falls back on it.
func TestProcessorBesideAGPU(t *testing.T) {
	f, p := New(Config{}), newPicture()
	cpu, gpu := api.DeviceStatus{ID: "cpu", Kind: "cpu", Budget: 1}, api.DeviceStatus{ID: "GPU-1", Kind: "gpu", Budget: 1}
	want := func(when string, devices ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(p.devices)); !slices.Equal(got, devices) {
			t.Errorf("%s: %v, want %v", when, got, devices)
		}
	}
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Full: true, Devices: []api.DeviceStatus{cpu, gpu}}))
	want("both", "n/GPU-1")
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Devices: []api.DeviceStatus{cpu}}))
	want("news of the processor", "n/GPU-1")
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Full: true, Devices: []api.DeviceStatus{cpu}}))
	want("the GPU is gone", "n/cpu")
	p.take(f.Heard("a", api.NodeStatus{Node: "n", Devices: []api.DeviceStatus{gpu}}))
	want("the GPU is back", "n/GPU-1")
}

func TestTwoNodesOfOneName(t *testing.T) {
	f, p := New(Config{}), newPicture()
	s := api.NodeStatus{Node: "n", Full: true, Devices: []api.DeviceStatus{{ID: "cpu", Budget: 1}}}
	p.take(f.Heard("a", s))
	p.take(f.Heard("b", s))
	if address, own := f.Locate("n/cpu"); len(p.devices) != 1 || address != "a" || own != "cpu" {
		t.Errorf("%v, and n/cpu is %s at %s", p.devices, own, address)
	}
	p.take(f.Lost("b"))
	if len(p.devices) != 1 {
		t.Errorf("the second took the first with it: %v", p.devices)
	}
	p.take(f.Lost("a"))
	p.take(f.Heard("b", s))
	if address, _ := f.Locate("n/cpu"); address != "b" {
		t.Errorf("n/cpu is at %q", address)
	}
}
