package locality

import (
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

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
