package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// replayOptions say what is replayed on which nodes.
type replayOptions struct {
	functions int
	nodes     int
	share     float64 // of the models' bytes that fit on all devices together
	policies  []locality.Policy
	seeds     []uint64
	generator sim.Generator // all but Functions, PerMinute and Seed
	trace     *sim.Workload // nil: generated workloads
	busy      float64       // share of the time that lb is to keep devices busy
	credits   int

	// engine=tensorrt: plans instead of generated models, and the programs.
	plans, library, settings      string
	cachemgrd, onnxruntime        string
	dir                           string // folder for everything, "": one of its own
	cdf, profileFile, resultsFile string // files to write, "" for none
}

// replay sends the simulator's workloads to real cache managers, through a real
// provider and real functions, in an open loop: latencies count from when a request
// was meant to be sent. Then it lets the simulator do the same, with what it has
// measured of the models, and compares.
func replay(ctx context.Context, args []string) (any, error) {
	o, err := newReplayOptions(args)
	if err != nil {
		return nil, err
	}
	if o.dir, err = os.MkdirTemp(o.dir, "replay-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.dir)
	r, err := newReplay(ctx, o)
	if err != nil {
		return nil, err
	}
	figures, err := r.run(ctx)
	return figures, errors.Join(err, r.cluster.Close())
}

func newReplayOptions(args []string) (*replayOptions, error) {
	o := &replayOptions{}
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.IntVar(&o.functions, "functions", 16, "functions, each with a model of its own")
	flags.IntVar(&o.nodes, "nodes", 2, "nodes; with -plans there is one, which has all GPUs")
	flags.Float64Var(&o.share, "share", 0.5, "share of the models that all devices together have room for")
	flags.Float64Var(&o.busy, "busy", 0.4, "the rate is that at which lb keeps devices busy for this share of the time")
	flags.IntVar(&o.credits, "credits", 0, "requests that a device is given at a time; 0: as deployed, as many as keep it busy")
	flags.DurationVar(&o.generator.Length, "length", 12*time.Second, "length of each workload")
	flags.Float64Var(&o.generator.Skew, "skew", 0.9, "popularity is 1/rank to the power of this")
	flags.StringVar((*string)(&o.generator.Shape), "shape", string(sim.Flat), fmt.Sprintf("of the load: one of %v", sim.Shapes()))
	flags.StringVar((*string)(&o.generator.Gaps), "gaps", string(sim.Exponential), "between requests: exponential or poisson")
	policies := flags.String("policies", "lb,lalb,lalbo3,swap", "policies to compare")
	seeds := flags.String("seeds", "401,402,403,404,405", "seeds of the workloads")
	trace := flags.String("trace", "", "CSV file of function,milliseconds instead of generated workloads")
	flags.StringVar(&o.plans, "plans", "", "folder of TensorRT plans: run them on GPUs")
	flags.StringVar(&o.library, "library", "", "with -plans: libgpushim.so")
	flags.StringVar(&o.settings, "settings", "", "of that library")
	flags.StringVar(&o.cachemgrd, "cachemgrd", "", "program, if it is not to be built")
	flags.StringVar(&o.onnxruntime, "onnxruntime", os.Getenv("ONNXRUNTIME_LIB"), "ONNX Runtime's library")
	flags.StringVar(&o.dir, "dir", "", "folder for what is made; its path must be short")
	flags.StringVar(&o.cdf, "cdf", "", "file to write the distributions of latencies to")
	flags.StringVar(&o.profileFile, "saveprofile", "", "file to write the measured profile to")
	flags.StringVar(&o.resultsFile, "out", "", "file to append the result to")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if o.seeds, err = numbers(*seeds, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }); err != nil {
		return nil, fmt.Errorf("-seeds: %w", err)
	}
	if o.plans != "" {
		o.nodes = 1
	}
	for name := range strings.SplitSeq(*policies, ",") {
		p := locality.Policy(strings.TrimSpace(name))
		if !slices.Contains(locality.Policies(), p) {
			return nil, fmt.Errorf("-policies: %q: want some of %v", name, locality.Policies())
		}
		o.policies = append(o.policies, p)
	}
	if *trace != "" {
		if err := o.readTrace(*trace); err != nil {
			return nil, err
		}
	}
	return o, o.check()
}

func (o *replayOptions) readTrace(path string) error {
	w, err := openTrace(path)
	if err != nil {
		return err
	}
	o.trace, o.functions, o.seeds = &w, w.Functions, o.seeds[:min(1, len(o.seeds))]
	o.generator.Length = w.Requests[len(w.Requests)-1].At
	return nil
}

func (o *replayOptions) check() error {
	if o.functions < 1 || o.functions > 1000 || o.nodes < 1 || o.nodes > 16 || len(o.seeds) == 0 {
		return fmt.Errorf("want 1 to 1000 functions, 1 to 16 nodes and at least one seed; have %d, %d and %d", o.functions, o.nodes, len(o.seeds))
	}
	if !(o.share > 0 && o.share <= 1) || !(o.busy > 0 && o.busy < 1) || o.credits < 0 {
		return fmt.Errorf("want -share above 0 and up to 1, -busy between 0 and 1, and -credits of at least 0; have %g, %g and %d", o.share, o.busy, o.credits)
	}
	if (o.plans == "") != (o.library == "") {
		return errors.New("-plans and -library go together")
	}
	return nil
}

// replayBench is a cluster with functions, and what was measured of them.
type replayBench struct {
	*replayOptions
	cluster  *lab.Cluster
	subjects []*replaySubject
	devices  int
	budget   int64                // of a device
	idle     map[string]*measures // by kind, with nothing else going on
	profile  sim.Profile          // measured under load, before the workloads
	rate     float64              // requests a minute
	trained  float64              // share of the time that lb was busy in the last training
}

func (r *replayBench) run(ctx context.Context) (any, error) {
	if err := r.calibrate(ctx); err != nil {
		return nil, err
	}
	fmt.Printf("%d workloads of %v at %.0f requests a minute, %d policies each\n", len(r.seeds), r.generator.Length, r.rate, len(r.policies))
	var cells []*cell
	for _, seed := range r.seeds {
		w, err := r.workload(seed)
		if err != nil {
			return nil, err
		}
		order := slices.Clone(r.policies)
		rand.New(rand.NewPCG(seed, 3)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, p := range order {
			c, err := r.cell(ctx, p, seed, w)
			if err != nil {
				return nil, err
			}
			fmt.Println(c)
			cells = append(cells, c)
		}
	}
	if err := r.simulate(ctx, cells); err != nil {
		return nil, err
	}
	if err := r.save(cells); err != nil {
		return nil, err
	}
	figures := r.figures(cells)
	if r.resultsFile != "" {
		return figures, gpuOptions{out: r.resultsFile}.append(figures)
	}
	return figures, nil
}

func (r *replayBench) workload(seed uint64) (sim.Workload, error) {
	if r.trace != nil {
		return *r.trace, nil
	}
	g := r.generator
	g.Functions, g.PerMinute, g.Seed = r.functions, r.rate, seed
	return g.Generate()
}

// figures are for the last line.
func (r *replayBench) figures(cells []*cell) map[string]any {
	engine := "cpu"
	if r.plans != "" {
		engine = "tensorrt"
	}
	figures := map[string]any{
		"benchmark": "replay", "part": "replay", "go": runtime.Version(), "cpus": runtime.NumCPU(), "engine": engine,
		"nodes": r.nodes, "devices": r.devices, "functions": r.functions, "share": to2(r.share), "seeds": r.seeds,
		"shape": r.generator.Shape, "gaps": r.generator.Gaps, "skew": r.generator.Skew,
		"seconds": to1(r.generator.Length.Seconds()), "per_minute": to1(r.rate), "traced": r.trace != nil,
		"models": r.profile.Models, "way_ms": to4(r.profile.WayMS),
	}
	wrong, failed := 0, 0
	policies := map[string]any{}
	for _, p := range r.policies {
		of := slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool { return c.policy != p })
		for _, c := range of {
			wrong += c.wrong
			failed += c.failed
		}
		policies[string(p)] = summarize(of)
	}
	figures["wrong_outputs"], figures["failed"], figures["policies"] = wrong, failed, policies
	if lb, ok := policies[string(locality.LB)].(map[string]any); ok {
		figures["lb_utilisation"] = lb["busy"]
	}
	figures["sim_error"], figures["sim_error_p99"] = simErrors(r.seeds, cells, func(c *cell) sim.Result { return c.simulated })
	figures["sim_error_ahead"], figures["sim_error_ahead_p99"] = simErrors(r.seeds, cells, func(c *cell) sim.Result { return c.predicted })
	return figures
}

// functionProgram is this program, as a function's.
func functionProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
