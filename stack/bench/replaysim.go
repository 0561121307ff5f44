package main

import (
	"context"
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// simulate lets the simulator have the same workloads.
func (r *replayBench) simulate(ctx context.Context, cells []*cell) error {
	for _, c := range cells {
		var err error
		c.simulated, err = sim.Run(ctx, sim.Config{
			Profile: r.profile, Workload: c.workload, Policy: c.policy, Credits: r.spare[c.policy], Eviction: newOrder("gdsf"), Staged: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// relative are the simulator's relative errors, one for each seed: the mean over
// all policies.
type relative struct{ mean, p99 []float64 }

func simErrors(seeds []uint64, cells []*cell) relative {
	var out relative
	for _, seed := range seeds {
		mean, p99, n := 0.0, 0.0, 0.0
		for _, c := range cells {
			if c.seed == seed {
				mean += math.Abs(c.simulated.MeanMS/c.mean() - 1)
				p99 += math.Abs(c.simulated.P99MS/c.p99() - 1)
				n++
			}
		}
		out.mean, out.p99 = append(out.mean, mean/n), append(out.p99, p99/n)
	}
	return out
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
