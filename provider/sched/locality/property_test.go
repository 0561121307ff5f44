package locality

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// properties plays random events and calls check after each.
func properties(t *testing.T, cfg Config, check func(t *testing.T, s *Scheduler, e sched.Event, actions []sched.Action), change ...func(*world)) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("first seed %d", seed)
	for run := range uint64(15) {
		w := newWorld(seed + run)
		for _, c := range change {
			c(w)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			now, e := w.next(i)
			actions := s.Step(now, e, nil)
			w.note(actions)
			check(t, s, e, actions)
			if t.Failed() {
				t.Fatalf("seed %d, event %d %+v", seed+run, i, e)
			}
		}
	}
}

func each(t *testing.T, test func(t *testing.T, cfg Config)) {
	for _, policy := range Policies() {
		for credits := 1; credits <= 3; credits++ {
			t.Run(fmt.Sprintf("%s with %d credits", policy, credits), func(t *testing.T) {
				test(t, Config{Policy: policy, Credits: credits, QueueLimit: 20})
			})
		}
	}
}

// TestNothingIsGivenBeyondCredits: no device that is given a request has more of
// them then than it may, and no replica either.
func TestNothingIsGivenBeyondCredits(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		properties(t, cfg, func(t *testing.T, s *Scheduler, _ sched.Event, actions []sched.Action) {
			for _, a := range actions {
				r := s.requests.find(a.ID)
				if a.Kind != sched.Dispatch || r == nil {
					continue
				}
				if d := r.device; len(d.held) > cmp.Or(d.Credits, cfg.Credits) {
					t.Errorf("%s may be given %d requests and holds %d", d.ID, d.credits, len(d.held))
				}
				if r.replica.Capacity > 0 && r.replica.inFlight > r.replica.Capacity {
					t.Errorf("%s takes %d requests and serves %d", a.Replica, r.replica.Capacity, r.replica.inFlight)
				}
			}
		})
	})
}

// TestModelsInUseFit: what the requests of a device need at once never exceeds
// its budget.
func TestModelsInUseFit(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		properties(t, cfg, func(t *testing.T, s *Scheduler, _ sched.Event, _ []sched.Action) {
			for _, d := range s.devices {
				models := map[*model]bool{}
				bytes := int64(0)
				for _, h := range d.held {
					if !models[h.line.model] {
						bytes += h.line.model.bytes
					}
					models[h.line.model] = true
				}
				// The world decides on budgets of devices and bytes of models once.
				if bytes > d.Budget {
					t.Errorf("%s with a budget of %d holds %d requests with models of %d", d.ID, d.Budget, len(d.held), bytes)
				}
			}
		})
	})
}

// TestBytesAreCounted: what a device is believed to hold is what its models take,
// even if they turn out to be bigger.
func TestBytesAreCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	properties(t, Config{Policy: Swap}, func(t *testing.T, s *Scheduler, _ sched.Event, _ []sched.Action) {
		model := fmt.Sprintf("m%d", rng.IntN(6))
		if m := s.models[model]; m != nil && rng.IntN(20) == 0 {
			s.Step(start, sched.Event{Kind: sched.Prices, Model: model, Bytes: m.bytes + 1, Prices: []sched.Price{{Class: "c0", Compute: 1}, {Class: "c1", Compute: 1}}}, nil)
		}
		for _, d := range s.devices {
			used := int64(0)
			for _, m := range s.models {
				if m.here.has(d.index) {
					used += m.bytes
				}
			}
			if d.used != used {
				t.Errorf("%s is believed to hold %d bytes, but its models take %d", d.ID, d.used, used)
			}
		}
	})
	s := laid(t, Config{Policy: Swap})
	s.Step(start, sched.Event{Kind: sched.Prices, Model: "m"}, nil)
	if s.models["m"] != nil || s.devices[0].used != 0 {
		t.Errorf("a model that is gone still takes %d bytes", s.devices[0].used)
	}
}

// TestPassedOverAtMostLimitTimes follows every request: how often is one that
// came later, for the same devices, taken out of the queue before it?
func TestPassedOverAtMostLimitTimes(t *testing.T) {
	for _, cfg := range []Config{{Policy: LALBO3, Limit: 3}, {Policy: Swap, Limit: 3}, {Policy: LALB}, {Policy: LB}} {
		t.Run(string(cfg.Policy), func(t *testing.T) {
			before := map[*request]bool{} // queued before the event
			passed := map[sched.RequestID]int{}
			var last *Scheduler
			properties(t, cfg, func(t *testing.T, s *Scheduler, e sched.Event, _ []sched.Action) {
				if last != s {
					last = s
					clear(before)
					clear(passed)
				}
				countPasses(s, e, before, passed)
				for id, n := range passed {
					if n > cfg.Limit {
						t.Errorf("request %d was passed over %d times, want at most %d", id, n, cfg.Limit)
					}
				}
			}, func(w *world) { w.unlimited = true })
		})
	}
}

// countPasses adds to passed what the event changed.
func countPasses(s *Scheduler, e sched.Event, before map[*request]bool, passed map[sched.RequestID]int) {
	moved := e.Kind == sched.Devices || e.Kind == sched.Prices || e.Kind == sched.Replicas || e.Kind == sched.Returned || e.Kind == sched.Removed
	for r := range before {
		served := s.requests.find(r.id) == r && r.stage != queued
		if !served || moved {
			continue
		}
		for q := range before {
			if s.requests.find(q.id) == q && q.stage == queued && q.seq < r.seq && q.line.lane == r.line.lane {
				passed[q.id]++
			}
		}
	}
	clear(before)
	for _, r := range s.requests.slots {
		if r == nil {
			continue
		}
		if r.stage == queued && !moved {
			before[r] = true
		}
		if r.stage != queued || moved || len(s.avoided) > 0 {
			delete(passed, r.id) // lanes may have changed: counting begins anew
		}
	}
}

// TestIdleOnlyWhereWaitingIsCheaper: after each event a device with room has no
// request in its lanes that it could take, and with swap it would be done with
// none that is bound elsewhere for less.
func TestIdleOnlyWhereWaitingIsCheaper(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		properties(t, cfg, func(t *testing.T, s *Scheduler, _ sched.Event, _ []sched.Action) {
			for _, d := range s.devices {
				if len(d.held) > 0 {
					continue
				}
				if r := oldest(d); r != nil {
					t.Errorf("%s is idle while request %d waits", d.ID, r.id)
				}
				if d.bound.len > 0 {
					t.Errorf("%s is idle while %d requests are bound to it", d.ID, d.bound.len)
				}
				if cfg.Policy == Swap {
					wantNothingCheaper(t, s, d)
				}
			}
		})
	})
}

func wantNothingCheaper(t *testing.T, s *Scheduler, d *device) {
	for _, b := range s.devices {
		done := max(s.now, b.freeAt)
		for r := b.bound.first; r != nil; r = r.links[inLane].next {
			done += r.takes
			q := s.price(r.line.model, d)
			if r.line.lane.mask.has(d.index) && q.total() < done-s.now {
				t.Errorf("%s is idle and could answer request %d in %v; it is bound to %s, which takes %v",
					d.ID, r.id, q.total(), b.ID, done-s.now)
			}
		}
	}
}

// TestNamesCostNothing: the same events with other names of devices, in the same
// order, are the same decisions.
func TestNamesCostNothing(t *testing.T) {
	names := map[string]string{"": "", "d0": "z", "d1": "y", "d2": "a", "d3": "m", "d4": "k"}
	rename := func(devices []sched.Device) []sched.Device {
		out := slices.Clone(devices)
		for i := range out {
			out[i].ID = names[out[i].ID]
		}
		return out
	}
	each(t, func(t *testing.T, cfg Config) {
		var other *Scheduler
		var last *Scheduler
		at := start
		properties(t, cfg, func(t *testing.T, s *Scheduler, e sched.Event, actions []sched.Action) {
			if last != s {
				last, at = s, start
				var err error
				if other, err = New(cfg); err != nil {
					t.Fatal(err)
				}
			}
			at = s.epoch.Add(s.now)
			e.Device, e.Devices = names[e.Device], rename(e.Devices)
			for i, a := range other.Step(at, e, nil) {
				if want := actions[i]; a.ID != want.ID || a.Device != names[want.Device] || a.Replica != want.Replica {
					t.Errorf("action %+v, want %+v with its device renamed", a, want)
				}
			}
		})
	})
}
