package main

import (
	"context"
	"fmt"
	"math"

	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// at is the generator for so many functions.
func (b *simOptions) at(functions int) sim.Generator {
	g := b.generator
	g.Functions = functions
	if b.perFunction {
		g.PerMinute *= float64(functions)
	}
	return g
}

// average of a policy over all seeds.
type average struct {
	MeanMS      float64 `json:"mean_ms"`
	P50MS       float64 `json:"p50_ms"`
	P99MS       float64 `json:"p99_ms"`
	MissRatio   float64 `json:"miss_ratio"`
	FalseMisses float64 `json:"false_miss_ratio"`
	Computing   float64 `json:"computing"`
	Busy        float64 `json:"busy"`
	Within      float64 `json:"within_slo"`
	Attaining   float64 `json:"functions_attaining"`
	Asked       float64 `json:"functions_with_slo"`
	// Against the first policy, in percent; negative is better.
	MeanChange float64 `json:"mean_change_percent"`
	MissChange float64 `json:"miss_change_percent"`

	quantiles []float64 // of latencies, in ms
}

// run simulates one policy with all seeds and averages.
func (b *simOptions) run(ctx context.Context, v variant, g sim.Generator) (average, error) {
	var sum average
	var latencies []float64
	for _, seed := range b.seeds {
		w, err := b.workload(g, seed)
		if err != nil {
			return average{}, err
		}
		cfg := sim.Config{
			Profile: b.profile, Workload: w, Policy: v.policy, Credits: v.credits, Queue: newQueue(b.queue),
			Eviction: newOrder(b.eviction), Lag: b.lag, Staged: b.staged,
		}
		if v.torpor != "" {
			cfg.Pool, cfg.Queue, cfg.Eviction = true, newQueue(v.torpor), newOrder("twolists")
		}
		cfg.Peers = b.peers == peersAll || b.peers == peersTorpor && v.torpor != ""
		if v.policy == locality.LALBO3 || v.policy == locality.Swap {
			cfg.Limit = b.limit
		}
		r, err := sim.Run(ctx, cfg)
		if err != nil {
			return average{}, fmt.Errorf("%s, seed %d: %w", v.name, seed, err)
		}
		n := float64(len(b.seeds))
		sum.MeanMS += r.MeanMS / n
		sum.P50MS += r.P50MS / n
		sum.P99MS += r.P99MS / n
		sum.MissRatio += r.MissRatio / n
		sum.FalseMisses += r.FalseMisses / n
		sum.Computing += r.Computing / n
		sum.Busy += r.Busy / n
		sum.Within += r.Within / n
		sum.Attaining += float64(r.Attaining) / n
		sum.Asked += float64(r.Asked) / n
		if b.cdf != "" {
			latencies = append(latencies, r.Latencies...)
		}
	}
	sum.quantiles = sim.Quantiles(latencies)
	return sum, nil
}

func (b *simOptions) workload(g sim.Generator, seed uint64) (sim.Workload, error) {
	if b.trace != nil {
		return *b.trace, nil
	}
	g.Seed = seed
	return g.Generate()
}

// compare runs all policies on the same workloads.
func (b *simOptions) compare(ctx context.Context, g sim.Generator) (map[string]average, error) {
	out := map[string]average{}
	fmt.Printf("\nsimulated: %s, %d functions, %.1f requests a minute, seeds %v\n", b.profile.Name, g.Functions, g.PerMinute, b.seeds)
	fmt.Printf("%-10s %10s %10s %10s %6s %6s %6s %6s %7s %11s\n", "policy", "mean ms", "p50 ms", "p99 ms", "miss", "false", "comp.", "busy", "in SLO", "functions")
	var first average
	for i, v := range b.variants {
		a, err := b.run(ctx, v, g)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = a
		}
		a.MeanChange, a.MissChange = change(a.MeanMS, first.MeanMS), change(a.MissRatio, first.MissRatio)
		fmt.Printf("%-10s %10.2f %10.2f %10.2f %6.3f %6.3f %6.3f %6.3f %7.4f %5.1f/%5.1f  mean %+.2f %%\n",
			v.name, a.MeanMS, a.P50MS, a.P99MS, a.MissRatio, a.FalseMisses, a.Computing, a.Busy, a.Within, a.Attaining, a.Asked, a.MeanChange)
		out[v.name] = a.rounded()
	}
	return out, nil
}

// change in percent, 0 where there is nothing to compare with.
func change(to, from float64) float64 {
	if from == 0 {
		return 0
	}
	return 100 * (to/from - 1)
}

func (a average) rounded() average {
	for _, x := range []*float64{&a.MeanMS, &a.P50MS, &a.P99MS, &a.MeanChange, &a.MissChange, &a.Attaining, &a.Asked} {
		*x = to2(*x)
	}
	for _, x := range []*float64{&a.MissRatio, &a.FalseMisses, &a.Computing, &a.Busy, &a.Within} {
		*x = to4(*x)
	}
	return a
}

// equalLoad compares at the rates at which lb keeps the devices busy for given
// shares of the time: there lb keeps up, so the ratios are not those of a queue
// that only grows.
func (b *simOptions) equalLoad(ctx context.Context, g sim.Generator) (map[string]any, error) {
	out := map[string]any{}
	for _, share := range b.equal {
		rate, err := b.rateFor(ctx, g, share)
		if err != nil {
			return nil, err
		}
		at := g
		at.PerMinute = rate
		fmt.Printf("\nlb keeps the devices busy for %.2f of the time:", share)
		results, err := b.compare(ctx, at)
		if err != nil {
			return nil, err
		}
		out[fmt.Sprintf("%.2f", share)] = map[string]any{"per_minute": to1(rate), "policies": results}
	}
	return out, nil
}

var lbVariant = variant{name: "lb", policy: locality.LB}

// rateFor searches the rate at which lb keeps the devices busy for that share of
// the time.
func (b *simOptions) rateFor(ctx context.Context, g sim.Generator, share float64) (float64, error) {
	if !(share > 0 && share < 1) {
		return 0, fmt.Errorf("-equal: %g: want shares between 0 and 1", share)
	}
	return highest(func(rate float64) (bool, error) {
		at := g
		at.PerMinute = rate
		a, err := b.run(ctx, lbVariant, at)
		return a.Busy <= share, err
	}, g.PerMinute)
}

// sustained searches, for each policy, the highest rate at which its p99 is at
// most that of lb at a busy share of 0.7.
func (b *simOptions) sustained(ctx context.Context, g sim.Generator) (map[string]any, error) {
	rate, err := b.rateFor(ctx, g, 0.7)
	if err != nil {
		return nil, err
	}
	at := g
	at.PerMinute = rate
	lb, err := b.run(ctx, lbVariant, at)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"p99_ms": to2(lb.P99MS)}
	fmt.Printf("\nhighest rates with a p99 of at most %.2f ms:", lb.P99MS)
	for _, v := range b.variants {
		most, err := highest(func(rate float64) (bool, error) {
			at.PerMinute = rate
			a, err := b.run(ctx, v, at)
			return a.P99MS <= lb.P99MS, err
		}, rate)
		if err != nil {
			return nil, err
		}
		fmt.Printf(" %s %.1f", v.name, most)
		out[v.name] = to1(most)
	}
	fmt.Println()
	return out, nil
}

// highest searches the largest x for which holds is true, to half a percent. It
// takes holds for true below some x and false above.
func highest(holds func(x float64) (bool, error), start float64) (float64, error) {
	low, high := 0.0, start
	for {
		ok, err := holds(high)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, 2*high
	}
	for high-low > 0.005*high {
		middle := (low + high) / 2
		if low == 0 {
			middle = high / 2
		}
		ok, err := holds(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
		if high < start*math.Exp2(-20) {
			return 0, fmt.Errorf("no rate down to %g a minute keeps the limit", high)
		}
	}
	return low, nil
}
