package locality

import (
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// TestUnreachedRequestsWait: a request whose replica cannot be reached waits until
// that is worth another try, before all others; after some tries it is refused.
func TestUnreachedRequestsWait(t *testing.T) {
	s := laid(t, Config{Policy: Swap})
	s.Step(start, sched.Event{Kind: sched.Replicas, Function: "f", Replicas: []sched.Replica{{ID: "r1", Node: "n1", Ready: true}}}, nil)
	s.Step(start, arrive(1), nil)
	now := start
	for range maxAttempts - 1 {
		actions := s.Step(now, sched.Event{Kind: sched.Returned, ID: 1}, nil)
		if len(actions) != 1 || actions[0].Kind != sched.Alarm || actions[0].At != now.Add(avoidFor) {
			t.Fatalf("got %+v, want an alarm", actions)
		}
		if e := s.Explain(now, asked); e.Device != "" || !strings.Contains(e.Replicas[0].Why, "could not be reached") {
			t.Errorf("explained as %+v", e)
		}
		now = actions[0].At
		actions = s.Step(now, sched.Event{Kind: sched.Tick, Function: "f"}, nil)
		if len(actions) != 1 || actions[0].Kind != sched.Dispatch || actions[0].ID != 1 {
			t.Fatalf("got %+v, want it sent again", actions)
		}
	}
	actions := s.Step(now, sched.Event{Kind: sched.Returned, ID: 1}, nil)
	if len(actions) != 2 || actions[1].Kind != sched.Refuse || actions[1].Reason != sched.Unreachable {
		t.Errorf("got %+v, want it refused", actions)
	}
}

// TestPlainRequestsAreTriedAgain: a request without a model whose replica cannot
// be reached waits for an alarm of the plain scheduler, and for its tick.
func TestPlainRequestsAreTriedAgain(t *testing.T) {
	s, err := New(Config{Policy: Swap})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	only := func(kind sched.ActionKind, actions []sched.Action) sched.Action {
		t.Helper()
		if len(actions) != 1 || actions[0].Kind != kind {
			t.Fatalf("got %+v, want one action of kind %d", actions, kind)
		}
		return actions[0]
	}
	s.Step(now, sched.Event{
		Kind: sched.Replicas, Function: "f", Wakeable: true,
		Replicas: []sched.Replica{{ID: "a", Node: "n", Ready: true}},
	}, nil)
	only(sched.Dispatch, s.Step(now, sched.Event{Kind: sched.Arrive, Request: sched.Request{ID: 1, Function: "f"}}, nil))
	alarm := only(sched.Alarm, s.Step(now, sched.Event{Kind: sched.Returned, ID: 1}, nil))
	again := only(sched.Dispatch, s.Step(alarm.At, sched.Event{Kind: sched.Tick, Function: alarm.Function}, nil))
	if again.ID != 1 || again.Replica != "a" {
		t.Errorf("got %+v", again)
	}
}
