package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// oversubscription is how many times the device's budget the models take together.
const oversubscription = 4

// gpuModels holds many models behind a budget for a quarter of their bytes, and
// runs them in random order, each output compared with the one of the model while
// it was resident.
func gpuModels(ctx context.Context, o gpuOptions) (_ any, err error) {
	m := &modelsBench{gpuOptions: o, figures: o.figures(), outcomes: map[string]int{}}
	if err := m.plan(ctx); err != nil {
		return nil, err
	}
	if err := m.startNode(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(m.node.fail(err), m.close()) }()
	if err := m.load(ctx); err != nil {
		return nil, err
	}
	if o.swaps > 0 {
		if err := m.swap(ctx); err != nil {
			return nil, err
		}
	}
	return m.figures, nil
}

type modelsBench struct {
	gpuOptions
	figures map[string]any

	paths    []string
	ios      []ioSpec // of each path
	largest  ioSpec   // bytes of inputs and outputs
	resident int64    // of all models together
	host     int64    // likewise
	overhead int64
	budget   int64

	node    *gpuNode
	models  []*gpuModel
	callers []map[*gpuFunction]*gpuCaller // of each client
	wants   [][]byte

	idle int64 // bytes that the driver has given to anybody before a model was loaded

	mu        sync.Mutex
	outcomes  map[string]int
	latencies map[string][]float64 // ms, by outcome
}

// plan finds out what the models take.
func (m *modelsBench) plan(ctx context.Context) (err error) {
	if m.paths, err = m.planFiles(); err != nil {
		return err
	}
	fmt.Printf("probe %d plans\n", len(m.paths))
	probes, err := probeSizes(ctx, m.gpuOptions, m.paths)
	if err != nil {
		return err
	}
	m.ios = make([]ioSpec, len(m.paths))
	var bytes int64
	for i, path := range m.paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		p := probes[info.Size()]
		if m.ios[i], err = newIOSpec(p.spec); err != nil {
			return err
		}
		m.largest.inputSize = max(m.largest.inputSize, m.ios[i].inputSize)
		m.largest.outputSize = max(m.largest.outputSize, m.ios[i].outputSize)
		m.resident += p.cost.Resident
		m.host += p.cost.Host + 1<<20
		m.overhead = max(m.overhead, p.overhead())
		bytes += info.Size()
	}
	m.budget = m.overhead + m.resident/oversubscription
	n := float64(len(m.paths))
	m.figures["models"], m.figures["networks"] = len(m.paths), len(probes)
	m.figures["mean_model_mb"] = to2(float64(bytes) / n / 1e6)
	m.figures["mean_resident_mb"] = to2(float64(m.resident) / n / 1e6)
	m.figures["budget_mb"] = to2(float64(m.budget) / 1e6)
	m.figures["oversubscription"] = oversubscription
	return nil
}

func (m *modelsBench) startNode(ctx context.Context) (err error) {
	m.node, err = startNode(ctx, m.gpuOptions, m.budget, "host_budget="+strconv.FormatInt(m.host, 10))
	if err != nil {
		return err
	}
	if m.idle, err = driverUsed(ctx); err != nil {
		fmt.Println("the driver is not asked:", err)
	}
	fmt.Printf("offer %d plans\n", len(m.paths))
	began := time.Now()
	if m.models, err = m.node.offer(ctx, m.paths); err != nil {
		return errors.Join(m.node.fail(err), m.node.close())
	}
	m.figures["offer_s"] = to1(time.Since(began).Seconds())
	for range m.clients {
		callers := map[*gpuFunction]*gpuCaller{}
		m.callers = append(m.callers, callers)
		for _, f := range m.node.functions {
			if callers[f], err = newCaller(ctx, m.node, f, m.largest, m.shared); err != nil {
				return errors.Join(m.node.fail(err), m.close())
			}
		}
	}
	return nil
}

func (m *modelsBench) close() error {
	for _, callers := range m.callers {
		for _, c := range callers {
			if c != nil {
				c.close()
			}
		}
	}
	return m.node.close()
}

// load has each model deserialized, and takes its output as the one that is right.
func (m *modelsBench) load(ctx context.Context) error {
	// So few at once that a model is still there when it is asked for again.
	clients := min(m.clients, max(1, len(m.models)/oversubscription/4))
	fmt.Printf("load each once, %d clients\n", clients)
	m.wants = make([][]byte, len(m.models))
	began := time.Now()
	var next atomic.Int64
	work, all := errgroup.WithContext(ctx)
	for _, callers := range m.callers[:clients] {
		work.Go(func() error {
			for i := int(next.Add(1) - 1); i < len(m.models) && all.Err() == nil; i = int(next.Add(1) - 1) {
				model := m.models[i]
				want, err := callers[model.function].reference(all, model.name, m.ios[i])
				if err != nil {
					return err
				}
				m.wants[i] = want
			}
			return all.Err()
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	m.figures["load_all_s"] = to1(time.Since(began).Seconds())
	different := map[string]bool{}
	for _, w := range m.wants {
		different[string(w)] = true
	}
	m.figures["different_outputs"] = len(different)
	return m.account(ctx, "after_loads")
}

// account compares the node's ledger with the driver.
func (m *modelsBench) account(ctx context.Context, when string) error {
	d, err := m.node.device(ctx)
	if err != nil {
		return err
	}
	account := map[string]any{
		"resident_mb": to2(float64(d.Resident) / 1e6), "moving_mb": to2(float64(d.Loading+d.Draining) / 1e6),
		"residual_mb": to2(float64(d.Residual) / 1e6), "overhead_mb": to2(float64(d.Overhead) / 1e6), "kept_mb": to2(float64(d.Kept) / 1e6),
	}
	if used, err := driverUsed(ctx); err == nil {
		accountDriver(account, d, used-m.idle, float64(len(m.models)), float64(m.resident)/float64(len(m.models)))
	}
	m.figures[when] = account
	return nil
}

// accountDriver adds what the driver says is taken, and what follows from that for
// models whose mean is so many bytes while they are resident.
func accountDriver(account map[string]any, d api.DeviceStatus, taken int64, models, meanResident float64) {
	ledger := d.Resident + d.Loading + d.Draining + d.Residual + d.Overhead
	account["driver_mb"] = to2(float64(taken) / 1e6)
	account["ledger_error"] = to4(float64(taken-ledger) / float64(taken))
	// What all models leave behind is in Residual for those that are evicted, and
	// part of Resident for the others.
	stated := float64(d.Residual) / max(1, models-float64(d.Resident)/meanResident)
	account["residual_stated_mb_per_model"] = to4(stated / 1e6)
	// What the driver has given, and the ledger does not call anything else.
	known := ledger + d.Kept - d.Residual
	account["residual_mb_per_model"] = to4((stated + float64(taken-known-d.Residual)/models) / 1e6)
}

// swap runs the models in random order until that has made the swaps asked for.
func (m *modelsBench) swap(ctx context.Context) error {
	fmt.Printf("%d swaps in random order, %d clients\n", m.swaps, m.clients)
	before, driverErr := driverUsed(ctx)
	m.latencies = map[string][]float64{}
	var swaps, wrong atomic.Int64
	began := time.Now()
	work, all := errgroup.WithContext(ctx)
	for client, callers := range m.callers {
		work.Go(func() error {
			rng := rand.New(rand.NewPCG(m.seed, uint64(client)))
			own := map[string][]float64{}
			for swaps.Load() < int64(m.swaps) {
				i := rng.IntN(len(m.models))
				model := m.models[i]
				start := time.Now()
				out, info, err := callers[model.function].infer(all, model.name, m.ios[i])
				if err != nil {
					return err
				}
				own[info.Cache] = append(own[info.Cache], time.Since(start).Seconds()*1e3)
				if info.Cache == api.CacheSwap {
					for part, took := range map[string]time.Duration{"queue": info.Queue, "load": info.Swap, "compute": info.Compute} {
						own["swap_"+part] = append(own["swap_"+part], took.Seconds()*1e3)
					}
				}
				if info.Cache != api.CacheHit {
					swaps.Add(1)
				}
				if !bytes.Equal(out, m.wants[i]) {
					wrong.Add(1)
				}
			}
			m.count(own)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	m.figures["swaps"], m.figures["wrong_outputs"] = swaps.Load(), wrong.Load()
	m.figures["swap_seconds"], m.figures["swaps_per_s"] = to1(elapsed), to1(float64(swaps.Load())/elapsed)
	for outcome, ms := range m.latencies {
		if !strings.HasPrefix(outcome, "swap_") {
			m.figures["requests_"+outcome] = len(ms)
		}
		m.figures["latency_"+outcome+"_ms"] = quantiles(ms)
	}
	if after, err := driverUsed(ctx); err == nil && driverErr == nil {
		m.figures["driver_drift_mb"] = to2(float64(after-before) / 1e6)
	}
	return m.account(ctx, "after_swaps")
}

func (m *modelsBench) count(own map[string][]float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for outcome, ms := range own {
		m.latencies[outcome] = append(m.latencies[outcome], ms...)
	}
}
