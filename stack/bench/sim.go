package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// simBench replays workloads on simulated devices with each policy.
func simBench(ctx context.Context, args []string) (any, error) {
	b, err := newSimBench(args)
	if err != nil {
		return nil, err
	}
	figures := map[string]any{
		"benchmark": "sim", "simulated": true, "go": runtime.Version(), "profile": b.profile.Name, "seeds": b.seeds,
		"shape": b.generator.Shape, "gaps": b.generator.Gaps, "skew": b.generator.Skew, "minutes": b.generator.Length.Minutes(),
		"per_minute": b.generator.PerMinute, "per_function": b.perFunction, "eviction": b.eviction, "queue": b.queue, "peers": b.peers, "staged": b.staged,
	}
	latencies := map[string]map[string][]float64{} // by functions and policy
	for _, functions := range b.functions {
		name := fmt.Sprintf("functions_%d", functions)
		at := b.at(functions)
		results, err := b.compare(ctx, at)
		if err != nil {
			return nil, err
		}
		latencies[strconv.Itoa(functions)] = map[string][]float64{}
		for policy, a := range results {
			latencies[strconv.Itoa(functions)][policy] = a.quantiles
		}
		set := map[string]any{"policies": results}
		if len(b.equal) > 0 {
			if set["equal_lb_busy"], err = b.equalLoad(ctx, at); err != nil {
				return nil, err
			}
		}
		if b.sustain {
			if set["sustained"], err = b.sustained(ctx, at); err != nil {
				return nil, err
			}
		}
		figures[name] = set
	}
	if b.cdf != "" {
		return figures, writeJSON(b.cdf, latencies)
	}
	return figures, nil
}

// simOptions say what is simulated.
type simOptions struct {
	profile     sim.Profile
	trace       *sim.Workload // nil for generated workloads
	generator   sim.Generator // all but Functions, Seed; PerMinute for all functions
	perFunction bool          // PerMinute is for each function
	functions   []int
	variants    []variant
	eviction    string
	queue       string // order of what waits on a node
	peers       string // see above
	limit       int
	lag         time.Duration
	staged      bool
	seeds       []uint64
	equal       []float64
	sustain     bool
	cdf         string // file, "" for none
}

// variant of a policy: "swap", or "swap:1" with that many credits; or "torpor-rrc",
// which is Torpor's way to choose devices, evict and copy, with that order of its
// queue.
type variant struct {
	name    string
	policy  locality.Policy
	credits int
	torpor  string // order of its queue, "" for none
}

const torporPrefix = "torpor-"

// Who copies models from device to device.
const (
	peersTorpor = "torpor"
	peersAll    = "all"
	peersNone   = "none"
)

func newSimBench(args []string) (*simOptions, error) {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	b := &simOptions{}
	profile := flags.String("profile", "lalb", fmt.Sprintf("one of %v, or a JSON file", sim.Names()))
	trace := flags.String("trace", "", "CSV file of function,milliseconds instead of a generated workload")
	functions := flags.String("workingset", "15,25,35", "functions, each with a model of its own; several are simulated in turn")
	policies := flags.String("policies", "lb,lalb,lalbo3,swap", "policies; swap:1 is swap with one credit for a device; torpor-fifo, torpor-rrc and torpor-slo are Torpor's design with that queue")
	seeds := flags.String("seeds", "1,2,3,4,5", "seeds of the workloads, whose figures are averaged")
	equal := flags.String("equal", "", "also compare at the rates at which lb keeps devices busy for these shares of the time, as 0.5,0.7,0.9")
	flags.BoolVar(&b.sustain, "sustain", false, "also search the highest rate at which a policy's p99 is at most that of lb when devices are busy 0.7 of the time")
	flags.Float64Var(&b.generator.PerMinute, "rate", 325, "requests a minute")
	flags.BoolVar(&b.perFunction, "perfunction", false, "the rate is that of each function")
	flags.DurationVar(&b.generator.Length, "length", 6*time.Minute, "length of the workload")
	flags.Float64Var(&b.generator.Skew, "skew", 0.9, "popularity is 1/rank to the power of this")
	flags.StringVar((*string)(&b.generator.Shape), "shape", string(sim.Minutely), fmt.Sprintf("of the load: one of %v", sim.Shapes()))
	flags.StringVar((*string)(&b.generator.Gaps), "gaps", string(sim.Exponential), "between requests: exponential or poisson")
	flags.StringVar(&b.queue, "queue", "slo", "order of what waits on a node: slo, rrc or fifo")
	flags.StringVar(&b.cdf, "cdf", "", "file to write the distributions of latencies to")
	flags.StringVar(&b.peers, "peers", peersTorpor, "who copies models from device to device, where the profile knows a way: torpor, all or none. The cache manager does not")
	flags.StringVar(&b.eviction, "eviction", "lru", "order of eviction: lru, twolists or gdsf")
	flags.IntVar(&b.limit, "limit", 0, "times that a request may be passed over; 0 for the default of each policy")
	flags.BoolVar(&b.staged, "staged", false, "begin with as many models in host memory as fit")
	flags.DurationVar(&b.lag, "lag", 0, "time until the scheduler knows of an eviction")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if b.profile, err = loadProfile(*profile); err != nil {
		return nil, err
	}
	if b.functions, err = numbers(*functions, strconv.Atoi); err != nil {
		return nil, fmt.Errorf("-workingset: %w", err)
	}
	if b.seeds, err = numbers(*seeds, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }); err != nil {
		return nil, fmt.Errorf("-seeds: %w", err)
	}
	if b.equal, err = numbers(*equal, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }); err != nil {
		return nil, fmt.Errorf("-equal: %w", err)
	}
	if b.variants, err = variants(*policies); err != nil {
		return nil, err
	}
	if newQueue(b.queue) == nil {
		return nil, fmt.Errorf("-queue %q: want slo, rrc or fifo", b.queue)
	}
	if b.peers != peersTorpor && b.peers != peersAll && b.peers != peersNone {
		return nil, fmt.Errorf("-peers %q: want torpor, all or none", b.peers)
	}
	if newOrder(b.eviction) == nil {
		return nil, fmt.Errorf("-eviction %q: want lru, twolists or gdsf", b.eviction)
	}
	if len(b.functions) == 0 || len(b.seeds) == 0 {
		return nil, fmt.Errorf("-workingset and -seeds: want at least one number each")
	}
	return b, b.readTrace(*trace)
}

func loadProfile(name string) (sim.Profile, error) {
	if slices.Contains(sim.Names(), name) {
		return sim.Named(name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return sim.Profile{}, fmt.Errorf("-profile: want one of %v, or a file: %w", sim.Names(), err)
	}
	return sim.ParseProfile(data)
}

// openTrace reads the workload that a file describes.
func openTrace(path string) (sim.Workload, error) {
	f, err := os.Open(path)
	if err != nil {
		return sim.Workload{}, fmt.Errorf("-trace: %w", err)
	}
	defer f.Close()
	return sim.ReadTrace(f)
}

// readTrace lets a trace take the place of the generated workloads.
func (b *simOptions) readTrace(path string) error {
	if path == "" {
		return nil
	}
	w, err := openTrace(path)
	if err != nil {
		return err
	}
	if b.sustain || len(b.equal) > 0 {
		return fmt.Errorf("-trace: its rate cannot be changed, so it goes without -equal and -sustain")
	}
	b.trace, b.functions, b.seeds = &w, []int{w.Functions}, b.seeds[:1]
	return nil
}

func numbers[T any](list string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		n, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%q: want numbers with commas between them: %w", list, err)
		}
		out = append(out, n)
	}
	return out, nil
}

func variants(list string) ([]variant, error) {
	var out []variant
	for name := range strings.SplitSeq(list, ",") {
		policyName, credits, found := strings.Cut(strings.TrimSpace(name), ":")
		v := variant{name: strings.TrimSpace(name), policy: locality.Policy(policyName)}
		if order, ok := strings.CutPrefix(v.name, torporPrefix); ok && newQueue(order) != nil {
			v.torpor = order
			out = append(out, v)
			continue
		}
		if !slices.Contains(locality.Policies(), v.policy) {
			return nil, fmt.Errorf("-policies: %q: want some of %v, torpor-fifo, torpor-rrc or torpor-slo", name, locality.Policies())
		}
		if found {
			n, err := strconv.Atoi(credits)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("-policies: %q: want a number of credits of at least 1 after the colon", name)
			}
			v.credits = n
		}
		out = append(out, v)
	}
	return out, nil
}

// newOrder returns how to make an order of eviction, nil if there is no such.
func newOrder(name string) func() policy.Order {
	switch name {
	case "lru":
		return func() policy.Order { return policy.NewLRU() }
	case "twolists":
		return func() policy.Order { return policy.NewTwoLists() }
	case "gdsf":
		return func() policy.Order { return policy.NewGDSF() }
	}
	return nil
}

// newQueue returns how to make an order of what waits on a node, nil if there is no
// such.
func newQueue(name string) func(*queue.Book) queue.Policy {
	switch name {
	case "slo":
		return func(b *queue.Book) queue.Policy { return queue.NewSLO(b) }
	case "rrc":
		return func(b *queue.Book) queue.Policy { return queue.NewRRC(b) }
	case "fifo":
		return func(*queue.Book) queue.Policy { return queue.FIFO{} }
	}
	return nil
}
