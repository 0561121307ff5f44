package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/native"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// planCommand makes this program a process that holds one plan.
const planCommand = "serve-plan"

// servePlan loads a plan, says so, and runs it once for each line of its input.
func servePlan(ctx context.Context, library, settings, path string) (err error) {
	e, err := native.New(native.Options{Library: library, Settings: settings, Slots: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	devices, err := e.Devices(ctx)
	if err != nil {
		return err
	}
	st, err := e.Open(ctx, planModel(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	i, err := st.Load(ctx, devices[0].ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	in, err := patternedInputs(st.Spec())
	if err != nil {
		return err
	}
	run := func() error {
		return i.Run(ctx, in, []tensor.Tensor{{Name: st.Spec().Outputs[0].Name}})
	}
	if err := run(); err != nil {
		return err
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := run(); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

// planProcess is a process that runs servePlan.
type planProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startPlan(ctx context.Context, o gpuOptions, path string) (*planProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &planProcess{cmd: exec.CommandContext(ctx, self, planCommand, o.library, o.settings, path)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.await("ready"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *planProcess) await(word string) error {
	line, err := p.out.ReadString('\n')
	if err == nil && strings.TrimSpace(line) != word {
		err = fmt.Errorf("it says %q, not %q", line, word)
	}
	return err
}

func (p *planProcess) run() error {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return err
	}
	return p.await("done")
}

func (p *planProcess) close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// processPerModel starts a process for each of some plans and asks them in random
// order.
func processPerModel(ctx context.Context, o gpuOptions) (_ map[string]any, err error) {
	paths, err := o.planFiles()
	if err != nil {
		return nil, err
	}
	paths = paths[:min(len(paths), o.processes)]
	fmt.Printf("%d processes with a plan each\n", len(paths))
	before, driverErr := driverUsed(ctx)
	processes := make([]*planProcess, len(paths))
	defer func() {
		for _, p := range processes {
			if p != nil {
				err = errors.Join(err, p.close())
			}
		}
	}()
	var starts []float64
	began := time.Now()
	if starts, err = startPlans(ctx, o, paths, processes); err != nil {
		return nil, err
	}
	figures := map[string]any{
		"processes": len(paths), "start_all_s": to1(time.Since(began).Seconds()), "start_alone_ms": to1(starts[0]),
	}
	var rss int64
	for _, p := range processes {
		bytes, err := lab.RSS(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		rss += bytes
	}
	figures["host_mb_per_process"] = to1(float64(rss) / float64(len(paths)) / 1e6)
	if after, err := driverUsed(ctx); err == nil && driverErr == nil {
		figures["device_mb_per_process"] = to1(float64(after-before) / float64(len(paths)) / 1e6)
	}
	rng := rand.New(rand.NewPCG(o.seed, 1))
	var ms []float64
	for range o.requests {
		start := time.Now()
		if err := processes[rng.IntN(len(processes))].run(); err != nil {
			return nil, err
		}
		ms = append(ms, time.Since(start).Seconds()*1e3)
	}
	figures["request_ms"] = quantiles(ms)
	return figures, nil
}

// startPlans starts the first process alone and then the others, a few at once; it
// returns how long each took in milliseconds.
func startPlans(ctx context.Context, o gpuOptions, paths []string, processes []*planProcess) ([]float64, error) {
	const atOnce = 8
	took := make([]float64, len(paths))
	start := func(i int) (err error) {
		began := time.Now()
		processes[i], err = startPlan(ctx, o, paths[i])
		took[i] = time.Since(began).Seconds() * 1e3
		return err
	}
	if err := start(0); err != nil {
		return nil, err
	}
	var work errgroup.Group
	work.SetLimit(atOnce)
	for i := 1; i < len(paths); i++ {
		work.Go(func() error { return start(i) })
	}
	return took, work.Wait()
}
