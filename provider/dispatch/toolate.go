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
		return fmt.Sprintf("the answer is wanted within %v and would take about %v", e.SLO, (e.SLO + e.After).Round(time.Millisecond))
	}
	return fmt.Sprintf("the answer is wanted within %v, and nothing was free in that time", e.SLO)
}
