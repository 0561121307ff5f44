package main

import (
	"context"
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// simulate lets the simulator have the same workloads: with what was measured
// before them, which is a prediction, and with what was measured during the
// workloads of the same seed, under all policies. The difference between both is how
// much the machine has changed meanwhile.
func (r *replayBench) simulate(ctx context.Context, cells []*cell) error {
	during := map[uint64]map[string]*measures{}
	for _, c := range cells {
		if during[c.seed] == nil {
			during[c.seed] = map[string]*measures{}
		}
		addAll(during[c.seed], c.costs)
	}
	for _, c := range cells {
		var err error
		if c.predicted, err = r.simulated(ctx, c, r.profile); err != nil {
			return err
		}
		if c.simulated, err = r.simulated(ctx, c, r.profileOf(during[c.seed])); err != nil {
			return err
		}
	}
	return nil
}

func (r *replayBench) simulated(ctx context.Context, c *cell, p sim.Profile) (sim.Result, error) {
	return sim.Run(ctx, sim.Config{
		Profile: p, Workload: c.workload, Policy: c.policy, Credits: r.creditsOf(c.policy, p), Eviction: newOrder("gdsf"), Staged: true,
	})
}

// simErrors are the simulator's relative errors of means and of p99: of each seed
// the mean over all policies, of these the mean and its interval.
func simErrors(seeds []uint64, cells []*cell, of func(*cell) sim.Result) (mean, p99 meanInterval) {
	var means, p99s []float64
	for _, seed := range seeds {
		var errs, tails []float64
		for _, c := range cells {
			if c.seed == seed {
				errs = append(errs, math.Abs(of(c).MeanMS/c.mean()-1))
				tails = append(tails, math.Abs(of(c).P99MS/c.p99()-1))
			}
		}
		means, p99s = append(means, average1(errs)), append(p99s, average1(tails))
	}
	return meanOf(means), meanOf(p99s)
}

// meanInterval is a mean with its 95 % confidence interval.
type meanInterval struct {
	Mean float64 `json:"mean"`
	Lo   float64 `json:"lo"`
	Hi   float64 `json:"hi"`
}

// meanOf is the mean of independent values, with Student's interval.
func meanOf(xs []float64) meanInterval {
	n, mean := float64(len(xs)), average1(xs)
	if n < 2 {
		return meanInterval{to4(mean), to4(mean), to4(mean)}
	}
	squares := 0.0
	for _, x := range xs {
		squares += (x - mean) * (x - mean)
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * math.Sqrt(squares/(n-1)/n)
	return meanInterval{to4(mean), to4(mean - half), to4(mean + half)}
}

// summarize is one policy over all seeds.
func summarize(cells []*cell) map[string]any {
	of := func(f func(*cell) float64) []float64 {
		var xs []float64
		for _, c := range cells {
			xs = append(xs, f(c))
		}
		return xs
	}
	return map[string]any{
		"mean_ms":           meanOf(of((*cell).mean)),
		"p99_ms":            meanOf(of((*cell).p99)),
		"miss_ratio":        to4(average1(of((*cell).missRatio))),
		"busy":              to4(average1(of(func(c *cell) float64 { return c.busy }))),
		"sent_late_p99_ms":  to2(average1(of(func(c *cell) float64 { return c.late }))),
		"simulated_mean_ms": to2(average1(of(func(c *cell) float64 { return c.simulated.MeanMS }))),
		"simulated_p99_ms":  to2(average1(of(func(c *cell) float64 { return c.simulated.P99MS }))),
		"simulated_miss":    to4(average1(of(func(c *cell) float64 { return c.simulated.MissRatio }))),
		"simulated_busy":    to4(average1(of(func(c *cell) float64 { return c.simulated.Busy }))),
	}
}
