package locality

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestAgainstNaive plays random events to each policy and to its naive
// reference, and wants the same actions.
func TestAgainstNaive(t *testing.T) {
	for _, policy := range Policies() {
		for credits := 1; credits <= 2; credits++ {
			t.Run(fmt.Sprintf("%s with %d credits", policy, credits), func(t *testing.T) {
				first := uint64(time.Now().UnixNano())
				t.Logf("first seed %d", first)
				for seed := range uint64(40) {
					against(t, Config{Policy: policy, Credits: credits, QueueLimit: 20}, first+seed)
				}
			})
		}
	}
}

func against(t *testing.T, cfg Config, seed uint64) {
	t.Helper()
	if cfg.Policy == LALBO3 || cfg.Policy == Swap {
		cfg.Limit = 1 + int(seed%4)
	}
	w := newWorld(seed)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reference := newNaive(cfg)
	for i := range 500 {
		now, e := w.next(i)
		s.Explain(now, sched.Request{Function: w.functions[i%4], Model: w.models[i%6]}) // changes nothing
		got, want := s.Step(now, e, nil), reference.step(now, e)
		if g, w := reference.describe(got), reference.describe(want); g != w {
			t.Fatalf("seed %d, event %d %+v:\ngot  %q\nwant %q", seed, i, e, g, w)
		}
		w.note(got)
	}
	for _, f := range w.functions {
		w.note(s.Step(w.now, sched.Event{Kind: sched.Removed, Function: f}, nil))
	}
	for _, id := range w.dispatched {
		s.Step(w.now, sched.Event{Kind: sched.Done, ID: id}, nil)
	}
	if s.requests.used != 0 || s.waiting != 0 || s.boundTo != 0 || len(s.functions) != 0 || len(s.lanes) != 0 {
		t.Fatalf("seed %d: left: %d requests, %d waiting, %d bound, %d functions, %d lanes",
			seed, s.requests.used, s.waiting, s.boundTo, len(s.functions), len(s.lanes))
	}
	for _, m := range w.models {
		s.Step(w.now, sched.Event{Kind: sched.Prices, Model: m}, nil)
	}
	if len(s.models) != 0 {
		t.Fatalf("seed %d: %d models are left", seed, len(s.models))
	}
	for _, d := range s.devices {
		if d.hits.entries != nil && len(d.hits.entries) != 0 || d.work != 0 || len(d.held) != 0 || d.way.fetching != 0 {
			t.Fatalf("seed %d: %s still has %d lines, %v of work, holds %d and fetches %d",
				seed, d.ID, len(d.hits.entries), d.work, len(d.held), d.way.fetching)
		}
	}
}

// world makes up events that a small cluster could see.
type world struct {
	rng        *rand.Rand
	now        time.Time
	last       sched.RequestID
	functions  []string
	models     []string
	devices    []sched.Device
	present    []sched.Device
	bytes      map[string]int64 // of models
	dispatched []sched.RequestID
	// unlimited replicas take any number of requests.
	unlimited bool
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 7)), now: start, bytes: map[string]int64{}}
	for i := range 4 {
		w.functions = append(w.functions, fmt.Sprintf("f%d", i))
	}
	for i := range 6 {
		w.models = append(w.models, fmt.Sprintf("m%d", i))
	}
	for i := range 5 {
		w.devices = append(w.devices, sched.Device{
			ID: fmt.Sprintf("d%d", i), Node: fmt.Sprintf("n%d", i/2), Budget: int64(60 + 40*(i%2)),
			Class: fmt.Sprintf("c%d", i%2), Link: []string{"", "shared"}[i/3], Slots: i % 3,
		})
	}
	return w
}

func (w *world) pick(from []string) string { return from[w.rng.IntN(len(from))] }

func (w *world) millis(n int) time.Duration { return time.Duration(w.rng.IntN(n)) * time.Millisecond }

// next makes up the i-th event; the first ones lay the ground.
func (w *world) next(i int) (time.Time, sched.Event) {
	w.now = w.now.Add(w.millis(40))
	switch ground := len(w.functions) + 1; {
	case i == 0:
		w.present = slices.Clone(w.devices)
		return w.now, sched.Event{Kind: sched.Devices, Devices: w.present}
	case i < ground:
		return w.now, w.replicas(w.functions[i-1], true)
	case i < ground+len(w.models):
		return w.now, w.prices(w.models[i-ground])
	}
	switch p := w.rng.IntN(100); {
	case p < 45:
		w.last++
		return w.now, sched.Event{Kind: sched.Arrive, Request: sched.Request{
			ID: w.last, Function: w.pick(w.functions), Model: w.pick(append(w.models, "", "unknown")),
			SLO:    []time.Duration{0, 60 * time.Millisecond, 200 * time.Millisecond}[w.rng.IntN(3)],
			OnTime: w.rng.IntN(3) == 0,
		}}
	case p < 80:
		if len(w.dispatched) > 0 {
			i := w.rng.IntN(len(w.dispatched))
			id := w.dispatched[i]
			if w.rng.IntN(6) == 0 {
				return w.now, sched.Event{Kind: sched.Computed, ID: id}
			}
			w.dispatched = append(w.dispatched[:i], w.dispatched[i+1:]...)
			if w.rng.IntN(8) == 0 {
				return w.now, sched.Event{Kind: sched.Returned, ID: id}
			}
			return w.now, sched.Event{Kind: sched.Done, ID: id}
		}
	case p < 84:
		return w.now, sched.Event{Kind: sched.Cancel, ID: sched.RequestID(w.rng.IntN(int(w.last + 1)))}
	case p < 86:
		e := sched.Event{Kind: sched.Failed, Device: w.devices[w.rng.IntN(5)].ID, Model: w.pick(w.models)}
		if w.rng.IntN(4) > 0 {
			e.At = w.now.Add(w.millis(400) - 50*time.Millisecond)
		}
		return w.now, e
	case p < 90:
		kind := []sched.EventKind{sched.Resident, sched.Evicted, sched.Evicted}[w.rng.IntN(3)]
		return w.now, sched.Event{Kind: kind, Device: w.devices[w.rng.IntN(5)].ID, Model: w.pick(w.models)}
	case p < 94:
		kind := []sched.EventKind{sched.Staged, sched.Unstaged}[w.rng.IntN(2)]
		return w.now, sched.Event{Kind: kind, Node: w.devices[w.rng.IntN(5)].Node, Model: w.pick(w.models)}
	case p < 97:
		return w.now, w.replicas(w.pick(w.functions), false)
	case p < 98:
		return w.now, sched.Event{Kind: sched.Removed, Function: w.pick(w.functions)}
	case p < 99 && w.rng.IntN(2) == 0:
		// Others may be what is given now, and nothing else.
		for i := range w.present {
			w.present[i].Credits = w.rng.IntN(4)
		}
		return w.now, sched.Event{Kind: sched.Devices, Devices: w.present}
	case p < 99:
		w.rng.Shuffle(len(w.devices), func(i, j int) { w.devices[i], w.devices[j] = w.devices[j], w.devices[i] })
		w.present = slices.Clone(w.devices[:2+w.rng.IntN(4)])
		return w.now, sched.Event{Kind: sched.Devices, Devices: w.present}
	default:
		return w.now, w.prices(w.pick(w.models))
	}
	return w.now, sched.Event{Kind: sched.Done, ID: w.last + 1000}
}

func (w *world) replicas(function string, everywhere bool) sched.Event {
	e := sched.Event{Kind: sched.Replicas, Function: function, Wakeable: w.rng.IntN(4) > 0}
	if w.rng.IntN(3) == 0 {
		e.Policy = w.pick([]string{string(LB), string(LALB), string(Swap), sched.PolicyLeastInFlight})
	}
	for i := range 4 {
		if everywhere || w.rng.IntN(3) > 0 {
			e.Replicas = append(e.Replicas, sched.Replica{
				ID: fmt.Sprintf("%s-%d", function, i), Node: fmt.Sprintf("n%d", i%4),
				Ready: everywhere || w.rng.IntN(4) > 0, Capacity: w.capacity(),
			})
		}
	}
	return e
}

func (w *world) capacity() int {
	if w.unlimited {
		return 0
	}
	return w.rng.IntN(3)
}

func (w *world) prices(model string) sched.Event {
	if w.bytes[model] == 0 {
		w.bytes[model] = int64(10 + w.rng.IntN(70))
	}
	e := sched.Event{Kind: sched.Prices, Model: model, Bytes: w.bytes[model]}
	if w.now.Sub(start) > time.Second && w.rng.IntN(4) == 0 {
		e.Bytes = 0 // no node has it any more
		return e
	}
	for _, class := range []string{"c0", "c1"} {
		if w.now.Sub(start) > time.Second && w.rng.IntN(4) == 0 {
			continue // it cannot run there any more
		}
		e.Prices = append(e.Prices, sched.Price{
			Class: class, Load: w.millis(100), Swap: w.millis(60), Compute: time.Millisecond + w.millis(40),
		})
	}
	return e
}

// note remembers which requests are being served.
func (w *world) note(actions []sched.Action) {
	for _, a := range actions {
		if a.Kind == sched.Dispatch {
			w.dispatched = append(w.dispatched, a.ID)
		}
	}
}
