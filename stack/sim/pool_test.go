package sim

import (
	"context"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

func twoLists() policy.Order { return policy.NewTwoLists() }

// TestAlgorithmOne: where requests go, by what Torpor's algorithm says.
func TestAlgorithmOne(t *testing.T) {
	p := Profile{
		Name: "four", Pipelined: true,
		Groups: []Group{{Nodes: 1, Devices: 4, Class: "c", BudgetMB: 100, DevicesPerLink: 2}},
		Models: []Model{
			{Name: "light", MB: 10, Costs: []Cost{{Class: "c", Swap: 10, Compute: 20, Peer: 1}}},
			{Name: "heavy", MB: 10, Costs: []Cost{{Class: "c", Swap: 50, Compute: 20, Peer: 1}}},
		},
	}
	s, err := newSimulation(Config{Profile: p, Workload: Workload{Functions: 6}, Pool: true, Peers: true, Eviction: twoLists, Staged: true})
	if err != nil {
		t.Fatal(err)
	}
	place := func(index int, d int, whole bool) {
		s.devices[d].slots[index] = &slot{model: s.models[index], ready: whole, whole: whole, coming: !whole}
	}
	where := func(index int, want int, why string) {
		t.Helper()
		if got := s.pool.choose(s.models[index]); got != s.devices[want] {
			t.Errorf("%s: %s, want %s", why, got.id, s.devices[want].id)
		}
	}
	place(0, 2, true)
	where(0, 2, "the device that has it")
	s.devices[2].held = []*job{{}}
	where(0, 0, "any that can have it from there")
	place(1, 1, false) // heavy, comes over the first link
	s.devices[1].held = []*job{{}}
	where(2, 3, "the link that copies nothing")
	place(2, 2, false) // light, comes over the second link
	where(4, 3, "the link that copies something light")
	s.devices[3].held = []*job{{}}
	where(4, 0, "there is no other")
}

// TestPoolServesEveryRequest with every order of the queue, one request of a
// function at a time.
func TestPoolServesEveryRequest(t *testing.T) {
	p, err := Named("torpor")
	if err != nil {
		t.Fatal(err)
	}
	w, err := Generator{Functions: 400, PerMinute: 4000, Length: time.Minute, Shape: Flat, Gaps: Exponential, Seed: 1}.Generate()
	if err != nil {
		t.Fatal(err)
	}
	orders := map[string]func(*queue.Book) queue.Policy{
		"fifo": func(*queue.Book) queue.Policy { return queue.FIFO{} },
		"rrc":  func(b *queue.Book) queue.Policy { return queue.NewRRC(b) },
		"slo":  nil,
	}
	for name, order := range orders {
		for _, peers := range []bool{true, false} {
			r, err := Run(context.Background(), Config{Profile: p, Workload: w, Pool: true, Queue: order, Peers: peers, Eviction: twoLists, Staged: true})
			if err != nil || r.Requests != len(w.Requests) || r.Attaining == 0 {
				t.Errorf("%s: %d of %d requests, %d functions attain: %v", name, r.Requests, len(w.Requests), r.Attaining, err)
			}
		}
	}
	p.Groups[0].Nodes = 2
	if _, err := Run(context.Background(), Config{Profile: p, Workload: w, Pool: true, Eviction: twoLists}); err == nil {
		t.Error("two nodes with one queue: no error")
	}
}
