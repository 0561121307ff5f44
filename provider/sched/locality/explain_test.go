package locality

import (
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// laid returns a scheduler with device a, which has model m, and device b, which
// does not; it takes 100 ms to fetch and 10 ms to compute.
func laid(t *testing.T, cfg Config) *Scheduler {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []sched.Event{
		{Kind: sched.Devices, Devices: []sched.Device{{ID: "a", Node: "n1", Budget: 10}, {ID: "b", Node: "n2", Budget: 10}}},
		{Kind: sched.Replicas, Function: "f", Replicas: []sched.Replica{{ID: "r1", Node: "n1", Ready: true}, {ID: "r2", Node: "n2", Ready: true}, {ID: "r3", Node: "n3"}}},
		{Kind: sched.Prices, Model: "m", Bytes: 5, Prices: []sched.Price{{Load: 40 * time.Millisecond, Swap: 60 * time.Millisecond, Compute: 10 * time.Millisecond}}},
		{Kind: sched.Resident, Device: "a", Model: "m"},
	} {
		s.Step(start, e, nil)
	}
	return s
}

// asked is a request of f for m.
var asked = sched.Request{Function: "f", Model: "m"}

func arrive(id sched.RequestID) sched.Event {
	return sched.Event{Kind: sched.Arrive, Request: sched.Request{ID: id, Function: "f", Model: "m"}}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		held   int    // requests that are being served
		chosen string // replica
		why    []string
	}{
		{LB, 0, "r1", []string{"does not matter"}},
		{LALB, 0, "r1", []string{"it has room and the model", "compute 10ms"}},
		{LALB, 1, "r1", []string{"it has the model and is free in 10ms; loading it elsewhere takes 100ms"}},
		{Swap, 0, "r1", []string{"it is the cheapest", "about 10ms", "fetch 0s"}},
		{Swap, 2, "r1", []string{"it is the cheapest", "would wait for it"}},
		{LALBO3, 30, "", []string{"every device is busy"}},
	} {
		s := laid(t, Config{Policy: c.policy})
		for id := range sched.RequestID(c.held) {
			s.Step(start, arrive(id+1), nil)
		}
		if c.held == 0 {
			s.Step(start, arrive(1), nil)
			s.Step(start, sched.Event{Kind: sched.Done, ID: 1}, nil)
			s.Step(start, arrive(2), nil) // the other device, for lb
			s.Step(start, sched.Event{Kind: sched.Done, ID: 2}, nil)
		}
		e := s.Explain(start, asked)
		if e.Chosen != c.chosen || e.Policy != string(c.policy) || len(e.Devices) != 2 || len(e.Replicas) != 3 {
			t.Errorf("%s, %d held: got %+v", c.policy, c.held, e)
		}
		for _, words := range c.why {
			if !strings.Contains(e.Why, words) {
				t.Errorf("%s, %d held: %q does not say %q", c.policy, c.held, e.Why, words)
			}
		}
	}
}

func TestExplainCosts(t *testing.T) {
	s := laid(t, Config{Policy: Swap})
	s.Step(start, arrive(1), nil)
	e := s.Explain(start, asked)
	a, b := e.Devices[0], e.Devices[1]
	if a.Device != "a" || a.Place != "resident" || a.Wait != 10 || a.Fetch != 0 || a.Compute != 10 || a.Total != 20 {
		t.Errorf("a: %+v", a)
	}
	if b.Device != "b" || b.Place != "disk" || b.Wait != 0 || b.Fetch != 100 || b.Total != 110 || !strings.Contains(b.Why, "fetch 100ms") {
		t.Errorf("b: %+v", b)
	}
	s.Step(start, sched.Event{Kind: sched.Staged, Node: "n2", Model: "m"}, nil)
	if b := s.Explain(start, asked).Devices[1]; b.Place != "staged" || b.Fetch != 60 {
		t.Errorf("staged: %+v", b)
	}
}

func TestExplainWithoutDevices(t *testing.T) {
	s := laid(t, Config{Policy: Swap})
	if e := s.Explain(start, sched.Request{Function: "unknown"}); e.Why != "no such function" {
		t.Errorf("unknown function: %+v", e)
	}
	s.Step(start, arrive(1), nil)
	s.Step(start, sched.Event{Kind: sched.Devices}, nil)
	if e := s.Explain(start, asked); !strings.Contains(e.Why, "no device that can hold the model is on the node of a ready replica (replicas on n1, n2, n3, devices on none)") || e.Policy != "least-in-flight" {
		t.Errorf("no devices: %+v", e)
	}
}

func TestConfig(t *testing.T) {
	for _, bad := range []Config{
		{}, {Policy: "fastest"}, {Policy: LB, Limit: 1}, {Policy: LALB, Limit: 1}, {Policy: Swap, Credits: -1},
		{Policy: Swap, Limit: -1}, {Policy: Swap, Patience: -1}, {Policy: Swap, QueueLimit: -1},
	} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

// TestSLOs: of two models that are both here, the request that is due first is
// served first; one that is late anyway does not go before one that can be in
// time.
func TestSLOs(t *testing.T) {
	s := laid(t, Config{Policy: Swap, Credits: 1})
	s.Step(start, sched.Event{Kind: sched.Devices, Devices: []sched.Device{{ID: "a", Node: "n1", Budget: 10}}}, nil)
	s.Step(start, arrive(1), nil)
	slo := func(id sched.RequestID, d time.Duration) sched.Event {
		e := arrive(id)
		e.Request.SLO = d
		return e
	}
	s.Step(start, arrive(2), nil)
	s.Step(start, slo(3, time.Second), nil)
	s.Step(start, slo(4, 100*time.Millisecond), nil)
	s.Step(start, slo(5, 12*time.Millisecond), nil)
	now := start.Add(10 * time.Millisecond) // 5 is late whatever happens
	for i, want := range []sched.RequestID{4, 3, 2, 5} {
		actions := s.Step(now, sched.Event{Kind: sched.Done, ID: []sched.RequestID{1, 4, 3, 2}[i]}, nil)
		if len(actions) != 1 || actions[0].ID != want || actions[0].Device != "a" || actions[0].Replica != "r1" {
			t.Fatalf("got %+v, want request %d", actions, want)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, policy := range Policies() {
		s := laid(t, Config{Policy: policy})
		actions, id := make([]sched.Action, 0, 8), sched.RequestID(0)
		cycle := func() {
			for range 8 {
				id++
				actions = s.Step(start, arrive(id), actions[:0])
			}
			for done := id - 7; done <= id; done++ {
				actions = s.Step(start, sched.Event{Kind: sched.Done, ID: done}, actions[:0])
			}
		}
		for range 100 {
			cycle()
		}
		if n := testing.AllocsPerRun(100, cycle); n >= 1 {
			t.Errorf("%s: %v allocations in 8 requests", policy, n)
		}
	}
}
