package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// gpuOptions are those of all parts of the GPU benchmark.
type gpuOptions struct {
	part string

	cachemgrd, library, settings, onnxruntime string

	plans     string // folder of plans
	onnx      string // a file, and the program that makes plans
	builder   string
	name      string // of what is measured, in the result
	out       string // file that the result is appended to
	dir       string // folder for what is stored
	seed      uint64
	clients   int
	requests  int
	swaps     int
	processes int
	shared    bool
}

// gpuParts are what can be measured; stack/bench/gpu.sh runs them in their order.
var gpuParts = map[string]func(context.Context, gpuOptions) (any, error){
	"socket":     gpuSocket,
	"models":     gpuModels,
	"baselines":  gpuBaselines,
	"startup":    gpuStartup,
	"changeover": gpuChangeover,
	"telemetry":  gpuTelemetry,
	"summary":    gpuSummary,
}

// gpuBench measures the cache manager with TensorRT plans, on a GPU or on the
// driver double, through its socket. stack/bench/gpu.sh makes the plans.
func gpuBench(ctx context.Context, args []string) (any, error) {
	parts := strings.Join(slices.Sorted(maps.Keys(gpuParts)), "|")
	if len(args) == 0 || gpuParts[args[0]] == nil {
		return nil, fmt.Errorf("usage: go run ./stack/bench gpu %s [-h]", parts)
	}
	o := gpuOptions{part: args[0]}
	flags := flag.NewFlagSet("gpu "+o.part, flag.ContinueOnError)
	flags.StringVar(&o.cachemgrd, "cachemgrd", ".build/bin/cachemgrd", "program")
	flags.StringVar(&o.library, "library", ".build/native/libgpushim_double.so", "libgpushim.so, or the one on the driver double")
	flags.StringVar(&o.settings, "settings", "", "of that library")
	flags.StringVar(&o.onnxruntime, "onnxruntime", os.Getenv("ONNXRUNTIME_LIB"), "ONNX Runtime's library")
	flags.StringVar(&o.plans, "plans", "", "folder of plans (*.plan); for summary: of results (*.jsonl)")
	flags.StringVar(&o.onnx, "onnx", "", "changeover: the model")
	flags.StringVar(&o.builder, "builder", "", "changeover: program that makes plans")
	flags.StringVar(&o.name, "name", "", "name of what is measured, in the result")
	flags.StringVar(&o.out, "out", "", "file to append the result to")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "folder for sockets and stored models; its path must be short")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the order of requests")
	flags.IntVar(&o.clients, "clients", 8, "clients, each with one request at a time")
	flags.IntVar(&o.requests, "requests", 2000, "requests of each measurement")
	flags.IntVar(&o.swaps, "swaps", 100000, "models: swaps to make in random order; 0: none")
	flags.IntVar(&o.processes, "processes", 32, "baselines: processes with a model each")
	flags.BoolVar(&o.shared, "shm", true, "tensors in shared memory; false: over HTTP")
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	result, err := gpuParts[o.part](ctx, o)
	if err != nil {
		return nil, fmt.Errorf("gpu %s: %w", o.part, err)
	}
	return result, o.append(result)
}

// append adds a line to the file of results.
func (o gpuOptions) append(result any) error {
	if o.out == "" {
		return nil
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// figures begins a result.
func (o gpuOptions) figures() map[string]any {
	return map[string]any{
		"part": o.part, "name": o.name, "library": filepath.Base(o.library), "go": runtime.Version(),
		"cpus": runtime.NumCPU(), "seed": o.seed, "clients": o.clients, "shm": o.shared,
	}
}

// planFiles are the plans of the folder, in the order of their names.
func (o gpuOptions) planFiles() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(o.plans, "*.plan"))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there is no *.plan in %q", o.plans)
	}
	return paths, err
}
