package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/native"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// functionVariable makes this program a function, if it is in the environment: a
// watchdog takes no arguments.
const functionVariable = "bench_is_function"

// newReplay makes the models, starts the nodes and deploys the functions.
func newReplay(ctx context.Context, o *replayOptions) (*replayBench, error) {
	r := &replayBench{replayOptions: o}
	programs, err := o.programs(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Printf("prepare %d models\n", o.functions)
	variables, err := r.prepare(ctx, programs)
	if err != nil {
		return nil, err
	}
	r.cluster, err = lab.StartCluster(ctx, programs, lab.ClusterOptions{
		Dir: filepath.Join(o.dir, "lab"), Nodes: o.nodes, Cachemgr: variables, Provider: r.variables(locality.Swap),
	})
	if err != nil {
		return nil, err
	}
	if err := r.deploy(ctx); err != nil {
		return nil, errors.Join(err, r.cluster.Close())
	}
	return r, nil
}

// programs builds what is not there.
func (o *replayOptions) programs(ctx context.Context) (*lab.Programs, error) {
	if o.cachemgrd != "" {
		return &lab.Programs{Cachemgrd: o.cachemgrd, Runtime: o.onnxruntime}, nil
	}
	fmt.Println("build the programs")
	return lab.Build(ctx, o.dir)
}

// prepare makes the models and says how nodes are configured for them.
func (r *replayBench) prepare(ctx context.Context, programs *lab.Programs) (variables []string, err error) {
	var shared int64
	if r.plans == "" {
		r.subjects, err = generatedSubjects(ctx, programs.Runtime, r.dir, r.functions)
	} else {
		r.subjects, shared, err = planSubjects(ctx, r.replayOptions)
	}
	if err != nil {
		return nil, err
	}
	if r.plans == "" {
		r.devices = r.nodes
		variables = []string{"concurrency=1", "host_budget=8Gi"}
	} else {
		r.devices, err = gpus(ctx, r.library, r.settings)
		variables = []string{
			"engine=tensorrt", "gpushim_library=" + r.library, "gpushim_settings=" + r.settings, "allow_plans=true",
			"cpu_fallback=false", "engine_builder=off", "store_quota=200Gi",
			"host_budget=" + strconv.FormatInt(sum(r.subjects)*5/4+1<<30, 10),
		}
	}
	// Whole mebibytes of each model, so that as many fit as in the simulator; and
	// what two of them need more while they are brought there at once.
	r.budget = int64(math.Round(r.share*float64(sum(r.subjects)>>20)/float64(r.devices))) << 20
	extra := int64(0)
	for _, s := range r.subjects {
		extra = max(extra, mib(s.peak)-mib(s.bytes))
	}
	r.budget += 2 * extra << 20
	variables = append(variables, "device_budget="+strconv.FormatInt(r.budget+shared, 10))
	fmt.Printf("%d models of %d MiB together; %d devices with room for %d MiB each\n", len(r.subjects), sum(r.subjects)>>20, r.devices, r.budget>>20)
	return variables, err
}

func sum(subjects []*replaySubject) (bytes int64) {
	for _, s := range subjects {
		bytes += mib(s.bytes) << 20
	}
	return bytes
}

func mib(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// variables of the provider for a policy.
func (r *replayBench) variables(p locality.Policy) []string {
	return []string{"policy=" + string(p), "credits=" + strconv.Itoa(r.credits), "queue_limit=100000", "queue_timeout=2m"}
}

// deploy makes the functions; each runs on every node.
func (r *replayBench) deploy(ctx context.Context) error {
	program, err := functionProgram()
	if err != nil {
		return err
	}
	fmt.Printf("deploy %d functions on %d nodes\n", len(r.subjects), r.nodes)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(4)
	for _, s := range r.subjects {
		image := s.name + ":bench"
		// One after the other: the folder of images takes one at a time.
		if err := r.cluster.Image(image, program, []string{functionVariable + "=true"}, map[string]string{s.place(): s.file}); err != nil {
			return errors.Join(err, work.Wait())
		}
		work.Go(func() error {
			return r.cluster.Deploy(ctx, types.FunctionDeployment{Service: s.name, Image: image, EnvVars: s.environ()})
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return r.known(context.WithoutCancel(ctx))
}

// known waits until the provider knows of every function that its model can go to
// every device.
func (r *replayBench) known(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, s := range r.subjects {
		path := "/system/gpu/explain?" + url.Values{"function": {s.name}, "namespace": {lab.Namespace}}.Encode()
		if err := lab.Poll(ctx, func() error {
			var e sched.Explanation
			if err := r.cluster.System(ctx, http.MethodGet, path, nil, &e); err != nil {
				return err
			}
			if len(e.Devices) != r.devices {
				return fmt.Errorf("%s can go to %d devices, want %d: %s", s.name, len(e.Devices), r.devices, e.Why)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// use makes the provider follow a policy. It learns anew what models cost, from
// what nodes report.
func (r *replayBench) use(ctx context.Context, p locality.Policy) error {
	if err := r.cluster.Serve(ctx, r.variables(p)...); err != nil {
		return err
	}
	return r.known(ctx)
}

// save writes the profile and the distributions of latencies, where they are
// wanted.
func (r *replayBench) save(cells []*cell) error {
	if r.profileFile != "" {
		if err := writeJSON(r.profileFile, r.profile); err != nil {
			return err
		}
	}
	if r.cdf == "" {
		return nil
	}
	return writeJSON(r.cdf, distributions(cells))
}

// distributions are the latencies of each policy, measured and simulated, at
// quantiles that a plot needs.
func distributions(cells []*cell) map[string]map[string][]float64 {
	all := map[string]map[string][]float64{"measured": {}, "simulated": {}}
	for _, c := range cells {
		p := string(c.policy)
		all["measured"][p] = append(all["measured"][p], c.latencies...)
		all["simulated"][p] = append(all["simulated"][p], c.simulated.Latencies...)
	}
	for _, policies := range all {
		for p, ms := range policies {
			policies[p] = sim.Quantiles(ms)
		}
	}
	return all
}

// gpus is how many devices a library finds.
func gpus(ctx context.Context, library, settings string) (n int, err error) {
	e, err := native.New(native.Options{Library: library, Settings: settings, Slots: 1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	devices, err := e.Devices(ctx)
	if err == nil && len(devices) == 0 {
		err = os.ErrNotExist
	}
	return len(devices), err
}
