package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// measures of one kind of models: sums, and of how many.
type measures struct {
	compute, swap, way    time.Duration
	computes, swaps, ways int
}

// training are the seeds of the workloads that only serve to measure models under
// load. Nothing is reported of them.
var training = map[locality.Policy]uint64{locality.LB: 1, locality.Swap: 2}

// calibrate finds out which outputs are right, what models cost with nothing else
// going on, and under load; and with that the rate of the workloads.
func (r *replayBench) calibrate(ctx context.Context) error {
	fmt.Println("measure the models")
	r.idle = map[string]*measures{}
	if err := r.measureIdle(ctx, r.idle); err != nil {
		return err
	}
	r.profile = r.profileOf(r.idle)
	if r.trace != nil {
		r.rate = float64(len(r.trace.Requests)) / r.generator.Length.Minutes()
		return r.train(ctx)
	}
	return r.findRate(ctx)
}

// findRate tries rates until it has one at which lb keeps devices busy for about the
// share of the time that is wanted, and not longer. Costs rise with the load, and a
// machine that is loaded too much falls over, so what was measured at one rate says
// little of another.
func (r *replayBench) findRate(ctx context.Context) error {
	const trials, near = 5, 0.85
	rate, err := r.rateFor(ctx)
	if err != nil {
		return err
	}
	rate *= 2. / 3
	var low, high float64
	var found sim.Profile
	for range trials {
		r.rate = rate
		if err := r.train(ctx); err != nil {
			return err
		}
		if r.trained > r.busy {
			high = rate
		} else {
			low, found = rate, r.profile
		}
		switch {
		case low == rate && r.trained > near*r.busy:
			return nil
		case low > 0 && high > 0:
			rate = (low + high) / 2
		default:
			rate *= min(1.5, max(0.5, near*r.busy/r.trained))
		}
	}
	if low == 0 {
		fmt.Printf("lb keeps devices busy for more than %.2f of the time even at %.0f requests a minute\n", r.busy, high)
		return nil
	}
	r.rate, r.profile = low, found
	return nil
}

// train measures the models under a load of the present rate, and how busy lb keeps
// the devices.
func (r *replayBench) train(ctx context.Context) error {
	loaded := map[string]*measures{}
	for _, p := range []locality.Policy{locality.LB, locality.Swap} {
		w, err := r.workload(training[p])
		if err != nil {
			return err
		}
		c, err := r.cell(ctx, p, training[p], w)
		if err != nil {
			return err
		}
		fmt.Printf("measure them under load, %.0f requests a minute: %v\n", r.rate, c)
		addAll(loaded, c.costs)
		if p == locality.LB {
			r.trained = c.busy
		}
	}
	r.profile = r.profileOf(loaded)
	return nil
}

// addAll adds what was measured of each kind to sums.
func addAll(sums, more map[string]*measures) {
	for kind, m := range more {
		if sums[kind] == nil {
			sums[kind] = &measures{}
		}
		s := sums[kind]
		s.compute, s.computes = s.compute+m.compute, s.computes+m.computes
		s.swap, s.swaps = s.swap+m.swap, s.swaps+m.swaps
	}
}

// add takes an answer in; a nil receiver is the first.
func (m *measures) add(a answer) *measures {
	if m == nil {
		m = &measures{}
	}
	m.compute += a.timing.Compute
	m.computes++
	if a.cache == api.CacheSwap {
		m.swap += a.timing.Swap
		m.swaps++
	}
	return m
}

// measureIdle asks one function after the other: the first answer tells what a swap
// takes, as the models do not all fit, the following ones what a hit does. A node may keep all
// models of a kind, though: see guessSwaps.
func (r *replayBench) measureIdle(ctx context.Context, found map[string]*measures) error {
	const rounds, hits = 4, 3
	client := replayClient()
	defer client.CloseIdleConnections()
	for range rounds {
		for _, s := range r.subjects {
			for range 1 + hits {
				a := s.ask(ctx, client, r.cluster.URL)
				if a.err != nil {
					return fmt.Errorf("%s: %w", s.name, a.err)
				}
				if a.wrong {
					return fmt.Errorf("%s: the output is not that of a plain session", s.name)
				}
				m := found[s.kind].add(a)
				found[s.kind] = m
				if a.cache != api.CacheHit {
					continue
				}
				if s.want == nil {
					s.want = bytes.Clone(a.body)
				}
				m.way += max(0, a.took-a.timing.Queue-a.timing.Swap-a.timing.Compute)
				m.ways++
			}
		}
	}
	for _, s := range r.subjects {
		if s.want == nil {
			return fmt.Errorf("%s was never resident: nobody knows its right output", s.name)
		}
	}
	return guessSwaps(r.subjects, found)
}

// guessSwaps gives a kind whose models have never left, because others were worth
// less to their nodes, the time that the swaps of others took for as many bytes.
func guessSwaps(subjects []*replaySubject, found map[string]*measures) error {
	sizes := map[string]int64{}
	for _, s := range subjects {
		sizes[s.kind] = s.bytes
	}
	var took time.Duration
	var swapped int64
	for kind, m := range found {
		took += m.swap
		swapped += int64(m.swaps) * sizes[kind]
	}
	for kind, m := range found {
		if m.ways == 0 || swapped == 0 {
			return fmt.Errorf("%s: %d hits, and %d bytes swapped of all models; the measurement needs some of both", kind, m.ways, swapped)
		}
		if m.swaps == 0 {
			m.swap, m.swaps = time.Duration(float64(took)*float64(sizes[kind])/float64(swapped)), 1
			fmt.Printf("%s: none has left while nothing else went on; a swap is taken to last %v, as the others' for as many bytes\n", kind, m.swap)
		}
	}
	return nil
}

// profileOf is what the simulator is told. What was not measured under load is as
// with nothing else going on.
func (r *replayBench) profileOf(found map[string]*measures) sim.Profile {
	p := sim.Profile{
		Name:   "measured",
		About:  "Measured by `bench replay` under load, in the same run as the figures that it is compared with.",
		Groups: []sim.Group{{Nodes: r.nodes, Devices: r.devices / r.nodes, Class: "measured", BudgetMB: r.budget >> 20, DevicesPerLink: 1}},
	}
	var way, ways float64
	for _, s := range r.subjects {
		m, idle := found[s.kind], r.idle[s.kind]
		if m == nil || m.computes == 0 || m.swaps == 0 {
			m = idle
		}
		p.Models = append(p.Models, sim.Model{Name: s.name, MB: mib(s.bytes), PeakMB: mib(s.peak), Costs: []sim.Cost{{
			Class: "measured", Swap: per(m.swap, m.swaps), Compute: max(1e-3, per(m.compute, m.computes)),
		}}})
		way, ways = way+inMillis(idle.way), ways+float64(idle.ways)
	}
	p.WayMS = to4(way / ways)
	return p
}

// creditsOf is what provider/fleet gives a device: requests that keep it busy, and
// one more with swap.
func (r *replayBench) creditsOf(p locality.Policy, costs sim.Profile) int {
	if r.credits > 0 {
		return r.credits
	}
	compute, way := 0.0, costs.WayMS
	for _, m := range costs.Models {
		compute += m.Costs[0].Compute / float64(len(costs.Models))
	}
	busy := max(1, int(math.Ceil((way+compute)/compute-0.5)))
	if p == locality.Swap {
		return busy + 1
	}
	return busy
}

func per(sum time.Duration, n int) float64 { return to4(inMillis(sum) / float64(max(1, n))) }

// rateFor searches the rate at which lb is as busy as is wanted, in the simulator.
func (r *replayBench) rateFor(ctx context.Context) (float64, error) {
	g := r.generator
	g.Functions, g.Length = r.functions, 5*time.Minute
	c := r.profile.Models[0].Costs[0]
	g.PerMinute = 60e3 * float64(r.devices) / (c.Swap + c.Compute)
	b := &simOptions{profile: r.profile, seeds: []uint64{1}, eviction: "gdsf", queue: "slo", staged: true}
	return b.rateFor(ctx, g, r.busy)
}
