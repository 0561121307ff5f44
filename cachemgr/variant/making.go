package variant

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/build"
)

// making is how far a plan is.
type making struct {
	progress build.Progress
	began    time.Time // of the present phase
	err      error     // while failed or unbuilt
	retryAt  time.Time
}

// Bounds of what callers are told to wait for a plan.
const (
	shortWait = 2 * time.Second
	guessWait = 10 * time.Second
	longWait  = time.Minute
)

// estimate is when to ask again for a plan that is not ready.
func (m making) estimate(now time.Time) time.Time {
	if m.err != nil {
		return m.retryAt
	}
	wait := guessWait
	if f := m.progress.Fraction; f > 0 {
		wait = time.Duration(float64(now.Sub(m.began)) * (1 - f) / f)
	}
	return now.Add(min(max(wait, shortWait), longWait))
}
