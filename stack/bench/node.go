package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// node measures what a request costs beside the engine's own time, through the
// cache manager's socket and through the whole path, against net/http echoes of
// the same bytes. The paths are taken in turn, request by request, so that a
// change of the machine's speed meets all of them.
func node(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	rounds := flags.Int("rounds", 3000, "rounds with the digits model; a third of it with 600 KB")
	seed := flags.Uint64("seed", 1, "seed of the order of requests and of the bootstrap")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b, err := newNodeBench(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer b.close()

	figures := map[string]any{
		"benchmark": "node", "go": runtime.Version(), "cpus": runtime.NumCPU(), "seed": *seed,
	}
	small, large, err := subjects()
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		subject *subject
		suffix  string
		rounds  int
	}{{small, "", *rounds}, {large, "_600k", *rounds / 3}} {
		rss, err := b.deploy(ctx, part.subject)
		if err != nil {
			return nil, err
		}
		if part.suffix == "" {
			figures["rss_mb"] = rss
		}
		results, err := b.measure(ctx, part.subject, part.rounds, rand.New(rand.NewPCG(*seed, 2)))
		if err != nil {
			return nil, err
		}
		report(figures, part.suffix, results, *seed)
	}
	return figures, nil
}

// nodeBench is a lab and an echo server.
type nodeBench struct {
	lab      *lab.Lab
	echoTCP  string
	echoUnix string
	stopEcho func()
}

func newNodeBench(ctx context.Context, dir string) (*nodeBench, error) {
	fmt.Println("build and start the programs")
	programs, err := lab.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	l, err := lab.Start(ctx, programs, lab.Options{Dir: filepath.Join(dir, "lab")})
	if err != nil {
		return nil, err
	}
	b := &nodeBench{lab: l, echoUnix: filepath.Join(dir, "echo.sock")}
	if b.echoTCP, b.stopEcho, err = startEcho(ctx, b.echoUnix); err != nil {
		b.lab.Close()
		return nil, err
	}
	return b, nil
}

func (b *nodeBench) close() {
	b.stopEcho()
	if err := b.lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: stop:", err)
	}
}

// deploy makes a subject's function and returns the resident memory, in MB, of
// the idle function and of the provider.
func (b *nodeBench) deploy(ctx context.Context, s *subject) (map[string]float64, error) {
	fmt.Println("build and deploy", s.name)
	image := s.name + ":bench"
	if err := b.lab.Build(ctx, image, "go-trt", "stack/bench/function", map[string][]byte{s.name + "/1": s.model}); err != nil {
		return nil, err
	}
	if err := b.lab.Deploy(ctx, types.FunctionDeployment{
		Service: s.name, Image: image,
		EnvVars: map[string]string{
			"model": s.name, "input": s.input, "output": s.output, "shape": dims(s.shape), "preload": "all",
		},
	}); err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second) // idle is what is left when the start is over
	pids, err := b.lab.PIDs(s.name)
	if err != nil {
		return nil, err
	}
	function, err := lab.RSS(pids[0])
	if err != nil {
		return nil, err
	}
	provider, err := b.lab.Provider.RSS()
	if err != nil {
		return nil, err
	}
	return map[string]float64{"function": to1(float64(function) / 1e6), "provider": to1(float64(provider) / 1e6)}, nil
}
