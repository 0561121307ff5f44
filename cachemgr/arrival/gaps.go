// Package arrival predicts when a model is asked for next, from when it was asked
// for before. It is pure: time is passed in. It imports the standard library only.
package arrival

import (
	"math"
	"time"
)

// Gaps is a histogram of the times between requests, as that which Shahrad and
// others keep for functions ("Serverless in the Wild", USENIX ATC 2020): most have
// gaps that spread over few of its buckets, and of these the next request can be
// predicted. Theirs has buckets of a minute; models are swapped in milliseconds, so
// here a bucket is a quarter of an octave wide. The zero value is ready for use.
type Gaps struct {
	counts [buckets]uint8
	total  int
	last   time.Duration // request; since some start
	any    bool
}

const (
	shortest  = time.Millisecond
	perOctave = 4
	buckets   = 21 * perOctave // up to half an hour
	// remembered is how many gaps are kept: then all counts are halved, so that the
	// past is forgotten.
	remembered = 64
	// A prediction needs as many gaps as these, and most of them, from the first to
	// the last of the quantiles, within a factor of spread.
	needed         = 8
	early, late    = 0.05, 0.95
	spread         = 4.0
	notLongerAfter = 30 * time.Minute
)

// Seen tells of a request. Times never go back.
func (g *Gaps) Seen(now time.Duration) {
	gap := now - g.last
	was := g.any
	g.last, g.any = now, true
	if !was || gap > notLongerAfter {
		return
	}
	g.counts[bucket(gap)]++
	if g.total++; g.total < remembered {
		return
	}
	g.total = 0
	for i, n := range g.counts {
		g.counts[i] = n / 2
		g.total += int(n / 2)
	}
}

func bucket(gap time.Duration) int {
	if gap <= shortest {
		return 0
	}
	return min(int(perOctave*math.Log2(float64(gap)/float64(shortest))), buckets-1)
}

// lower is where a bucket begins.
func lower(bucket int) time.Duration {
	return time.Duration(float64(shortest) * math.Exp2(float64(bucket)/perOctave))
}

// Next is the window in which the next request after the last one is expected;
// not ok if that cannot be told: the gaps are too few or too different.
func (g *Gaps) Next() (from, to time.Duration, ok bool) {
	if g.total < needed {
		return 0, 0, false
	}
	first, last := g.quantile(early), g.quantile(late)
	from, to = lower(first), lower(last+1)
	if float64(to) > spread*float64(from) {
		return 0, 0, false
	}
	return g.last + from, g.last + to, true
}

// quantile is the bucket of the gap that is at a share of all in their order.
func (g *Gaps) quantile(share float64) int {
	rank, below := int(share*float64(g.total-1)), 0
	for i, n := range g.counts {
		if below += int(n); below > rank {
			return i
		}
	}
	return buckets - 1
}

// Wait is how long the next request is away, as far as can be told: the middle of
// its window; and where there is none, or it is over, as long as it has been away.
func (g *Gaps) Wait(now time.Duration) time.Duration {
	if from, to, ok := g.Next(); ok && now < to {
		return max((from+to)/2-now, (to-now)/2, shortest)
	}
	return max(now-g.last, shortest)
}
