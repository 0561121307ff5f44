package provider

import (
	"fmt"
	"time"
)

// sloOutcome is what became of a request with an objective for its latency.
type sloOutcome int

const (
	sloMet     sloOutcome = iota
	sloMissed             // late, failed, or given up by its client
	sloRefused            // because it could not be met
	sloOutcomes
)

func (o sloOutcome) String() string { return [...]string{"met", "missed", "refused"}[o] }

// Attainment is shown over the last sloWindow, to sloStep.
const (
	sloWindow = 5 * time.Minute
	sloStep   = 30 * time.Second
)

// attainment counts outcomes, since the start and lately. It is not safe for
// concurrent use.
type attainment struct {
	total [sloOutcomes]uint64
	steps [sloWindow / sloStep]struct {
		number int64 // of the step since 1970
		count  [sloOutcomes]uint64
	}
}

func (a *attainment) add(now time.Time, o sloOutcome) {
	a.total[o]++
	number := now.UnixNano() / int64(sloStep)
	s := &a.steps[number%int64(len(a.steps))]
	if s.number != number {
		s.number, s.count = number, [sloOutcomes]uint64{}
	}
	s.count[o]++
}

// lately is what was counted in the window that ends now.
func (a *attainment) lately(now time.Time) (sum [sloOutcomes]uint64) {
	number := now.UnixNano() / int64(sloStep)
	for _, s := range a.steps {
		if s.number > number-int64(len(a.steps)) && s.number <= number {
			for o, n := range s.count {
				sum[o] += n
			}
		}
	}
	return sum
}

// sloReport is the attainment of a function over the window.
type sloReport struct {
	Seconds float64 `json:"window_s"`
	Sent    uint64  `json:"sent"`
	Met     uint64  `json:"met"`
	Missed  uint64  `json:"missed"`
	Refused uint64  `json:"refused"`
	// Attainment is Met of Sent; absent if nothing was sent.
	Attainment *float64 `json:"attainment,omitempty"`
}

func newSLOReport(n [sloOutcomes]uint64) *sloReport {
	r := &sloReport{Seconds: sloWindow.Seconds(), Met: n[sloMet], Missed: n[sloMissed], Refused: n[sloRefused]}
	r.Sent = r.Met + r.Missed + r.Refused
	if r.Sent > 0 {
		ratio := float64(r.Met) / float64(r.Sent)
		r.Attainment = &ratio
	}
	return r
}

// String is for the table.
func (r *sloReport) String() string {
	if r == nil || r.Attainment == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%% of %d", 100**r.Attainment, r.Sent)
}
