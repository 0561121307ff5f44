package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// churn swaps models under load: 20 functions share a budget for 5 of their
// models, the cache manager is killed twice meanwhile, and every answer is
// compared with that of a plain session.
func churn(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("churn", flag.ContinueOnError)
	opt := churnOptions{}
	flags.IntVar(&opt.requests, "requests", 10000, "requests of the mix")
	flags.IntVar(&opt.functions, "functions", 20, "functions, each with a model of its own")
	flags.IntVar(&opt.fit, "fit", 5, "models that the device budget has room for")
	flags.IntVar(&opt.clients, "clients", 2, "clients, each with one request at a time")
	flags.IntVar(&opt.kills, "kills", 2, "times that the cache manager is killed during the mix")
	flags.IntVar(&opt.cycles, "cycles", 50, "rounds through all functions after the mix; memory is compared from the 10th on")
	flags.Uint64Var(&opt.seed, "seed", 1, "seed of models, inputs and mix")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := newChurn(ctx, dir, opt)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.mix(ctx); err != nil {
		return nil, err
	}
	if err := c.cycles(ctx); err != nil {
		return nil, err
	}
	if err := c.removeAll(ctx); err != nil {
		return nil, err
	}
	return c.figures, nil
}

type churnOptions struct {
	requests, functions, fit, clients, kills, cycles int
	seed                                             uint64
}

type churnBench struct {
	churnOptions
	lab      *lab.Lab
	subjects []*churnSubject
	figures  map[string]any
}

// churnSubject is a function with inputs and the right answers to them.
type churnSubject struct {
	name   string
	inputs [][]byte
	wants  [][]byte
}

func newChurn(ctx context.Context, dir string, opt churnOptions) (*churnBench, error) {
	fmt.Println("build the programs")
	programs, err := lab.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	fmt.Printf("generate %d models and the right answers\n", opt.functions)
	models, err := churnModels(opt)
	if err != nil {
		return nil, err
	}
	peak, err := peakBytes(ctx, programs.Runtime, dir, models[0])
	if err != nil {
		return nil, err
	}
	subjects, err := churnSubjects(programs.Runtime, models, opt.seed)
	if err != nil {
		return nil, err
	}
	budget := peak * int64(opt.fit)
	l, err := lab.Start(ctx, programs, lab.Options{
		Dir:      filepath.Join(dir, "lab"),
		Cachemgr: []string{fmt.Sprintf("device_budget=%d", budget), "host_budget=64Mi"},
	})
	if err != nil {
		return nil, err
	}
	c := &churnBench{churnOptions: opt, lab: l, subjects: subjects, figures: map[string]any{
		"benchmark": "churn", "go": runtime.Version(), "cpus": runtime.NumCPU(), "seed": opt.seed,
		"functions": opt.functions, "clients": opt.clients, "kills": opt.kills,
		"model_mb": to2(float64(len(models[0])) / 1e6), "model_peak_mb": to2(float64(peak) / 1e6), "budget_mb": to2(float64(budget) / 1e6),
	}}
	fmt.Printf("build and deploy %d functions; room for %d models of %.1f MB\n", opt.functions, opt.fit, float64(peak)/1e6)
	for i, s := range subjects {
		image := s.name + ":bench"
		err := l.Build(ctx, image, "go-trt", "stack/bench/function", map[string][]byte{"cnn/1": models[i]})
		if err == nil {
			err = l.Deploy(ctx, types.FunctionDeployment{Service: s.name, Image: image, EnvVars: map[string]string{
				"model": "cnn", "input": "input", "output": "output", "shape": dims(churnShape),
			}})
		}
		if err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *churnBench) close() {
	if err := c.lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: stop:", err)
	}
}

// tally counts answers.
type tally struct {
	mu                     sync.Mutex
	ok, wrong              int
	explained, unexplained int
	cache                  map[string]int
	reasons                map[string]int // of the unexplained
}

// count judges one answer. An honest failure is a 502, 503 or 504 that says why;
// anything else that is no answer is not explained.
func (t *tally) count(a *lab.Answer, err error, want []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.unexplained++
		t.reasons[fmt.Sprintf("%.120s", err)]++
	case a.Status == 200 && bytes.Equal(a.Body, want):
		t.ok++
		t.cache[a.Header.Get(api.HeaderCache)]++
	case a.Status == 200:
		t.wrong++
	case a.Status >= 502 && a.Status <= 504 && len(bytes.TrimSpace(a.Body)) > 0:
		t.explained++
	default:
		t.unexplained++
		t.reasons[fmt.Sprintf("%d %.120s", a.Status, bytes.TrimSpace(a.Body))]++
	}
}

// mix sends the requests, the first functions more often than the last, and kills
// the cache manager while it does.
func (c *churnBench) mix(ctx context.Context) error {
	fmt.Printf("send %d requests, SIGKILL of cachemgrd %d times\n", c.requests, c.kills)
	t := &tally{cache: map[string]int{}, reasons: map[string]int{}}
	var sent atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	for client := range c.clients {
		work.Go(func() error {
			rng := rand.New(rand.NewPCG(c.seed, uint64(client)))
			zipf := rand.NewZipf(rng, 1.1, 4, uint64(len(c.subjects)-1))
			for ctx.Err() == nil && sent.Add(1) <= int64(c.requests) {
				s := c.subjects[zipf.Uint64()]
				i := rng.IntN(len(s.inputs))
				a, err := c.lab.Invoke(ctx, s.name, "", s.inputs[i])
				t.count(a, err, s.wants[i])
			}
			return ctx.Err()
		})
	}
	work.Go(func() error {
		for kill := range c.kills {
			at := int64(c.requests * (kill + 1) / (c.kills + 1))
			if err := lab.Poll(ctx, func() error {
				if n := sent.Load(); n < at {
					return fmt.Errorf("%d of %d requests sent", n, at)
				}
				return nil
			}); err != nil {
				return err
			}
			if err := c.lab.Cachemgr.Kill(); err != nil {
				return err
			}
			if err := c.lab.Cachemgr.Restart(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	began := time.Now()
	if err := work.Wait(); err != nil {
		return err
	}
	for reason, n := range t.reasons {
		fmt.Printf("not explained, %d times: %s\n", n, reason)
	}
	for k, v := range map[string]any{
		"requests": c.requests, "ok": t.ok, "wrong_outputs": t.wrong,
		"failed_explained": t.explained, "failed_unexplained": t.unexplained,
		"hits": t.cache[api.CacheHit], "swaps": t.cache[api.CacheSwap], "loads": t.cache[api.CacheLoad],
		"requests_per_s": to1(float64(c.requests) / time.Since(began).Seconds()),
	} {
		c.figures[k] = v
	}
	return nil
}

// cycles brings every model in and out again and again, and compares the cache
// manager's memory.
func (c *churnBench) cycles(ctx context.Context) error {
	fmt.Printf("load and evict all %d models %d times\n", len(c.subjects), c.churnOptions.cycles)
	const first = 10
	rss := make([]int64, 0, c.churnOptions.cycles)
	for range c.churnOptions.cycles {
		for _, s := range c.subjects {
			a, err := c.lab.Invoke(ctx, s.name, "", s.inputs[0])
			if err != nil {
				return err
			}
			if a.Status != 200 || !bytes.Equal(a.Body, s.wants[0]) {
				return fmt.Errorf("%s: status %d or a wrong output: %.200s", s.name, a.Status, a.Body)
			}
		}
		bytes, err := c.lab.Cachemgr.RSS()
		if err != nil {
			return err
		}
		rss = append(rss, bytes)
	}
	c.figures["cycles"] = len(rss)
	c.figures["rss_mb_first"] = to1(float64(rss[min(first, len(rss))-1]) / 1e6)
	c.figures["rss_mb_last"] = to1(float64(rss[len(rss)-1]) / 1e6)
	c.figures["rss_growth"] = float64(int(1e4*(float64(rss[len(rss)-1])/float64(rss[min(first, len(rss))-1])-1))) / 1e4
	return nil
}

// removeAll deletes the functions and waits for the ledger to become zero.
func (c *churnBench) removeAll(ctx context.Context) error {
	fmt.Println("remove all functions")
	if err := c.lab.RemoveAll(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	held := int64(-1)
	err := lab.Poll(ctx, func() error {
		status, err := c.lab.NodeStatus(ctx)
		if err != nil {
			return err
		}
		if held = lab.Held(status); held != 0 {
			return fmt.Errorf("%d bytes are still held", held)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	c.figures["ledger_bytes"] = held
	return nil
}
