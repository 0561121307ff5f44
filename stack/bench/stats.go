package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// median of xs, which it sorts; NaN of none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	slices.Sort(xs)
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// round is what one round of interleaved requests took, in microseconds, by the
// name of the path.
type round map[string]float64

// p50 is the median of one path over all rounds.
func p50(rounds []round, path string) float64 {
	xs := make([]float64, len(rounds))
	for i, r := range rounds {
		xs[i] = r[path]
	}
	return median(xs)
}

// interval is a value with its 95 % confidence interval.
type interval struct{ value, lo, hi float64 }

// bootstrap estimates f over the rounds. Whole rounds are resampled, so that
// what the machine did to all paths of a round at once stays together.
func bootstrap(rounds []round, seed uint64, f func([]round) float64) interval {
	const resamples = 400
	rng := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, resamples)
	sample := make([]round, len(rounds))
	for i := range values {
		for j := range sample {
			sample[j] = rounds[rng.IntN(len(rounds))]
		}
		values[i] = f(sample)
	}
	slices.Sort(values)
	return interval{f(rounds), values[resamples*25/1000], values[resamples*975/1000]}
}

// micros is d in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// to1 rounds to one decimal, and so on: more would claim what was not measured.
func to1(x float64) float64 { return math.Round(x*10) / 10 }
func to2(x float64) float64 { return math.Round(x*100) / 100 }
func to4(x float64) float64 { return math.Round(x*10000) / 10000 }
