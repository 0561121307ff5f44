package dispatch

import (
	"testing"
	"time"
)

func TestTooLateErrorRounds(t *testing.T) {
	for _, c := range []struct {
		err  TooLateError
		want string
	}{
		{TooLateError{SLO: time.Microsecond, After: 212345}, "the answer is wanted within 1µs and would take about 210µs"},
		{TooLateError{SLO: 80 * time.Millisecond, After: 12345678}, "the answer is wanted within 80ms and would take about 92ms"},
		{TooLateError{SLO: time.Second}, "the answer is wanted within 1s, and nothing was free in that time"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
