package dispatch

import (
	"fmt"
	"time"
)

// TooLateError refuses a request that could not be answered within its objective.
type TooLateError struct {
	SLO time.Duration
	// After is by how much the answer would be late, 0 if nobody knows.
	After time.Duration
}

func (e *TooLateError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("the answer is wanted within %v and would take about %v", e.SLO, (e.SLO + e.After).Round(precision(e.SLO+e.After)))
	}
	return fmt.Sprintf("the answer is wanted within %v, and nothing was free in that time", e.SLO)
}

// precision is what an estimate of d is rounded to for people: milliseconds, or two
// or three digits of what is shorter.
func precision(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return 10 * time.Microsecond
	}
	return time.Millisecond
}
