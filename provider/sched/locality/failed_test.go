package locality

import (
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// TestFailuresAreAvoided: a device gets no request for a model that has failed
// there until that may be tried again, though it is free: another one does, and if
// there is none the request goes on without a device.
func TestFailuresAreAvoided(t *testing.T) {
	s := laid(t, Config{Policy: Swap, Credits: 1})
	s.Step(start, sched.Event{Kind: sched.Evicted, Device: "a", Model: "m"}, nil)
	failed := func(device string, at time.Time) []sched.Action {
		return s.Step(start, sched.Event{Kind: sched.Failed, Device: device, Model: "m", At: at}, nil)
	}
	until := start.Add(time.Second)
	if got := failed("a", until); len(got) != 1 || got[0].Kind != sched.Alarm || !got[0].At.Equal(until) {
		t.Fatalf("got %+v, want an alarm", got)
	}
	last := sched.RequestID(0)
	asked := func(now time.Time, want string) {
		t.Helper()
		last++
		got := s.Step(now, arrive(last), nil)
		if len(got) != 1 || got[0].Kind != sched.Dispatch || got[0].Device != want {
			t.Errorf("got %+v, want device %q", got, want)
		}
		s.Step(now, sched.Event{Kind: sched.Done, ID: last}, nil)
	}
	asked(start, "b")
	failed("b", until)
	asked(start, "")
	if e := s.Explain(start, sched.Request{Function: "f", Model: "m"}); e.Device != "" || !strings.Contains(e.Why, "it has on a, b") {
		t.Errorf("explained as %+v", e)
	}
	failed("b", time.Time{})
	asked(start, "b")
	failed("b", start.Add(time.Hour)) // by a clock that is wrong
	asked(until, "a")
	failed("a", start.Add(2*time.Hour))
	asked(start.Add(longestFailure), "b")
}
