package locality

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// TestNobodyStarves: with a load that the devices can bear, and every model
// asked for, no request waits for ever, however unpopular its model.
func TestNobodyStarves(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		if cfg.Policy == LB {
			t.Skip("lb serves in order of arrival; what it cannot bear is the load itself, as it loads for nearly every request")
		}
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		longest := starve(t, cfg, rand.New(rand.NewPCG(seed, 1)))
		if longest > 20*time.Second {
			t.Errorf("a request waited %v", longest)
		}
	})
}

// starve lets popular models take 60 % of two devices' time, in which one request
// in fifty has the unpopular model, and returns the longest wait.
func starve(t *testing.T, cfg Config, rng *rand.Rand) (longest time.Duration) {
	cfg.QueueLimit = 10000
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Step(start, sched.Event{Kind: sched.Devices, Devices: []sched.Device{
		{ID: "a", Node: "n", Budget: 2}, {ID: "b", Node: "n", Budget: 2},
	}}, nil)
	s.Step(start, sched.Event{Kind: sched.Replicas, Function: "f", Replicas: []sched.Replica{{ID: "r", Node: "n", Ready: true}}}, nil)
	for _, m := range []string{"popular", "liked", "unpopular"} {
		s.Step(start, sched.Event{Kind: sched.Prices, Model: m, Bytes: 1, Prices: []sched.Price{
			{Swap: 100 * time.Millisecond, Compute: 10 * time.Millisecond},
		}}, nil)
	}
	type running struct {
		id   sched.RequestID
		done time.Time
	}
	var serving []running
	sent := map[sched.RequestID]time.Time{}
	now := start
	take := func(actions []sched.Action) {
		for _, a := range actions {
			longest = max(longest, now.Sub(sent[a.ID]))
			serving = append(serving, running{a.ID, now.Add(10 * time.Millisecond)})
		}
	}
	for id := sched.RequestID(1); id <= 5000; id++ {
		model := []string{"popular", "liked"}[rng.IntN(2)]
		if rng.IntN(50) == 0 {
			model = "unpopular"
		}
		now = now.Add(time.Duration(rng.ExpFloat64() * 8e6))
		for len(serving) > 0 && serving[0].done.Before(now) {
			at := serving[0]
			serving = serving[1:]
			take(s.Step(now, sched.Event{Kind: sched.Done, ID: at.id}, nil))
		}
		sent[id] = now
		take(s.Step(now, sched.Event{Kind: sched.Arrive, Request: sched.Request{ID: id, Function: "f", Model: model}}, nil))
	}
	for id, at := range sent {
		if r := s.requests.find(id); r != nil && r.stage != held {
			longest = max(longest, now.Sub(at))
		}
	}
	return longest
}
