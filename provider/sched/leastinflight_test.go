package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ready(capacity int, ids ...string) []Replica {
	var out []Replica
	for _, id := range ids {
		out = append(out, Replica{ID: id, Node: "n", Ready: true, Capacity: capacity})
	}
	return out
}

func replicas(function string, rs []Replica) Event {
	return Event{Kind: Replicas, Function: function, Replicas: rs, Wakeable: true}
}

func tick(function string) Event { return Event{Kind: Tick, Function: function} }

func arrive(id RequestID, function string) Event {
	return Event{Kind: Arrive, Request: Request{ID: id, Function: function}}
}

func describe(actions []Action) string {
	out := ""
	for _, a := range actions {
		switch a.Kind {
		case Dispatch:
			out += fmt.Sprintf("%d->%s ", a.ID, a.Replica)
		case Refuse:
			out += fmt.Sprintf("%d!%d ", a.ID, a.Reason)
		case Wake:
			out += "wake:" + a.Function + " "
		case Alarm:
			out += "alarm:" + a.Function + " "
		}
	}
	return out
}

// alarms are the times of the alarms in actions.
func alarms(actions []Action) (at []time.Time) {
	for _, a := range actions {
		if a.Kind == Alarm {
			at = append(at, a.At)
		}
	}
	return at
}

func TestLeastInFlight(t *testing.T) {
	type step struct {
		after time.Duration
		event Event
		want  string
	}
	done := func(id RequestID) Event { return Event{Kind: Done, ID: id} }
	returned := func(id RequestID) Event { return Event{Kind: Returned, ID: id} }
	cases := map[string][]step{
		"unknown function": {{0, arrive(1, "f"), "1!3 "}},
		"fewest, then longest unused": {
			{0, replicas("f", ready(0, "b", "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, arrive(2, "f"), "2->b "},
			{0, done(2), ""},
			{0, arrive(3, "f"), "3->b "},
			{0, done(1), ""},
			{0, done(3), ""},
			{0, arrive(4, "f"), "4->a "},
		},
		"waits for room in order, and a cancelled one is skipped": {
			{0, replicas("f", ready(1, "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, arrive(2, "f"), ""},
			{0, arrive(3, "f"), ""},
			{0, arrive(4, "f"), "4!1 "},
			{0, Event{Kind: Cancel, ID: 2}, ""},
			{0, done(1), "3->a "},
			{0, done(1), ""},
		},
		"wakes": {
			{0, replicas("f", nil), ""},
			{0, arrive(1, "f"), "wake:f "},
			{0, replicas("f", []Replica{{ID: "a"}}), ""},
			{0, replicas("f", ready(0, "a")), "1->a "},
		},
		"may not wake": {
			{0, Event{Kind: Replicas, Function: "f"}, ""},
			{0, arrive(1, "f"), "1!2 "},
		},
		"another replica, then none": {
			{0, replicas("f", ready(0, "a", "b")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, returned(1), "1->b "},
			{0, arrive(2, "f"), "2->b "},
			{0, returned(1), "alarm:f "},
			{avoidFor, tick("f"), "1->a "},
		},
		"avoided for a while": {
			{0, replicas("f", ready(0, "a", "b")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, returned(1), "1->b "},
			{0, arrive(2, "f"), "2->b "},
			{avoidFor, arrive(3, "f"), "3->a "},
		},
		"waits for a busy one rather than an unreachable one": {
			{0, replicas("f", ready(1, "a", "b")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, arrive(2, "f"), "2->b "},
			{0, returned(1), "alarm:f "},
			{0, done(2), "1->b "},
			{avoidFor, tick("f"), ""},
		},
		"one alarm is enough": {
			{0, replicas("f", ready(0, "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, returned(1), "alarm:f "},
			{avoidFor / 2, arrive(2, "f"), ""},
			{avoidFor / 2, tick("f"), "1->a 2->a "},
		},
		"waits for the replica that takes the place of one that died": {
			{0, replicas("f", ready(0, "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, returned(1), "alarm:f "},
			{0, replicas("f", nil), "wake:f "},
			{avoidFor, tick("f"), "wake:f "},
			{0, replicas("f", ready(0, "b")), "1->b "},
		},
		"removed": {
			{0, replicas("f", ready(1, "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, arrive(2, "f"), ""},
			{0, Event{Kind: Removed, Function: "f"}, "2!3 "},
			{0, replicas("f", ready(1, "a2")), ""},
			{0, arrive(3, "f"), "3->a2 "},
			{0, returned(1), "1!3 "},
			{0, done(1), ""},
		},
		"a replica that left takes its requests along": {
			{0, replicas("f", ready(1, "a")), ""},
			{0, arrive(1, "f"), "1->a "},
			{0, replicas("f", ready(1, "b")), ""},
			{0, arrive(2, "f"), "2->b "},
			{0, done(1), ""},
			{0, arrive(3, "f"), ""},
			{0, done(2), "3->b "},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			s, now := NewLeastInFlight(2), start
			for i, st := range steps {
				now = now.Add(st.after)
				if got := describe(s.Step(now, st.event, nil)); got != st.want {
					t.Fatalf("step %d %+v: got %q, want %q", i, st.event, got, st.want)
				}
			}
		})
	}
}

func TestExplain(t *testing.T) {
	s := NewLeastInFlight(10)
	if e := s.Explain(start, Request{Function: "f.ns"}); e.Why != "no such function" || e.Replicas == nil {
		t.Errorf("unknown: %+v", e)
	}
	s.Step(start, replicas("f", append(ready(1, "a", "b"), Replica{ID: "c", Node: "n"})), nil)
	s.Step(start, arrive(1, "f"), nil)
	e := s.Explain(start, Request{Function: "f"})
	if e.Chosen != "b" || len(e.Replicas) != 3 {
		t.Fatalf("got %+v", e)
	}
	for i, why := range []string{"serves as many requests as it may", "free", "not ready"} {
		if e.Replicas[i].Why != why {
			t.Errorf("replica %s: %q, want %q", e.Replicas[i].Replica, e.Replicas[i].Why, why)
		}
	}
	s.Step(start, arrive(2, "f"), nil)
	s.Step(start, arrive(3, "f"), nil)
	if e := s.Explain(start, Request{Function: "f"}); e.Chosen != "" || e.Queued != 1 {
		t.Errorf("full: %+v", e)
	}
}

// TestAgainstNaive plays random events to the scheduler and to its naive
// reference, and wants the same actions.
func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		real, reference := NewLeastInFlight(3), newNaive(3)
		now, last := start, RequestID(0)
		for i := range 400 {
			now = now.Add(time.Duration(rng.IntN(60)) * time.Millisecond)
			e := randomEvent(rng, &last)
			got, want := real.Step(now, e, nil), reference.step(now, e)
			if describe(got) != describe(want) || !slices.Equal(alarms(got), alarms(want)) {
				t.Fatalf("seed %d, event %d %+v: got %q, want %q", seed, i, e, describe(got), describe(want))
			}
		}
		for name := range reference.functions {
			real.Step(now, Event{Kind: Removed, Function: name}, nil)
		}
		for id := range last + 1 {
			real.Step(now, Event{Kind: Done, ID: id}, nil)
		}
		if len(real.requests) != 0 || len(real.functions) != 0 {
			t.Fatalf("seed %d: %d requests and %d functions are left", seed, len(real.requests), len(real.functions))
		}
	}
}

func randomEvent(rng *rand.Rand, last *RequestID) Event {
	function := string(rune('f' + rng.IntN(2)))
	switch p := rng.IntN(100); {
	case p < 45:
		*last++
		return arrive(*last, function)
	case p < 70:
		return Event{Kind: Done, ID: RequestID(rng.IntN(int(*last + 1)))}
	case p < 78:
		return Event{Kind: Cancel, ID: RequestID(rng.IntN(int(*last + 1)))}
	case p < 86:
		return Event{Kind: Returned, ID: RequestID(rng.IntN(int(*last + 1)))}
	case p < 88:
		return Event{Kind: Removed, Function: function}
	case p < 91:
		return tick(function)
	}
	var rs []Replica
	for _, id := range []string{"a", "b", "c"} {
		if rng.IntN(3) > 0 {
			rs = append(rs, Replica{ID: function + id, Ready: rng.IntN(4) > 0, Capacity: rng.IntN(3)})
		}
	}
	return Event{Kind: Replicas, Function: function, Replicas: rs, Wakeable: rng.IntN(4) > 0}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	s := NewLeastInFlight(256)
	s.Step(start, replicas("f", ready(2, "a", "b", "c")), nil)
	actions, id := make([]Action, 0, 8), RequestID(0)
	cycle := func() {
		for range 8 {
			id++
			actions = s.Step(start, arrive(id, "f"), actions[:0])
		}
		for done := id - 7; done <= id; done++ {
			actions = s.Step(start, Event{Kind: Done, ID: done}, actions[:0])
		}
	}
	for range 1000 {
		cycle()
	}
	if n := testing.AllocsPerRun(1000, cycle); n >= 1 {
		t.Errorf("%v allocations in 8 requests", n)
	}
}

func BenchmarkLeastInFlight100Replicas(b *testing.B) {
	s := NewLeastInFlight(256)
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint(i))
	}
	s.Step(start, replicas("f", ready(4, ids...)), nil)
	actions := make([]Action, 0, 8)
	b.ReportAllocs()
	for id := RequestID(1); b.Loop(); id++ {
		actions = s.Step(start, arrive(id, "f"), actions[:0])
		if id > 200 {
			actions = s.Step(start, Event{Kind: Done, ID: id - 200}, actions[:0])
		}
	}
}
