package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/native"
)

// gpuBaselines measures what is done without a cache that keeps models
// deserialized: to deserialize at each miss, and a process for each model.
func gpuBaselines(ctx context.Context, o gpuOptions) (any, error) {
	figures := o.figures()
	loads, err := loadOnDemand(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("load on demand: %w", err)
	}
	figures["baseline_load_on_demand"] = loads
	processes, err := processPerModel(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("a process for each model: %w", err)
	}
	figures["baseline_process_per_model"] = processes
	return figures, nil
}

// demand loads models when they are asked for, and closes the one that was used
// longest ago when the bytes are too many. Plans stay in host memory.
type demand struct {
	device engine.DeviceID
	budget int64
	plans  []*demandPlan
	loaded []*demandPlan // the one used last is last
	used   int64
}

type demandPlan struct {
	staged   engine.Staged
	instance engine.Instance
	in       []tensor.Tensor
	want     []byte
}

// loadOnDemand runs plans in random order on an engine that deserializes at each
// Load, one request at a time.
func loadOnDemand(ctx context.Context, o gpuOptions) (_ map[string]any, err error) {
	paths, err := o.planFiles()
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d requests for %d plans, deserialized at each miss\n", o.requests, len(paths))
	budget, err := quarter(ctx, o, paths)
	if err != nil {
		return nil, err
	}
	e, err := native.New(native.Options{Library: o.library, Settings: o.settings, Slots: 1, NoRemap: true})
	if err != nil {
		return nil, err
	}
	devices, err := e.Devices(ctx)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	d := &demand{device: devices[0].ID, budget: budget}
	defer func() { err = errors.Join(err, d.close(), e.Close()) }()
	for _, path := range paths {
		st, err := e.Open(ctx, planModel(path))
		if err != nil {
			return nil, err
		}
		d.plans = append(d.plans, &demandPlan{staged: st})
	}
	return d.measure(ctx, o)
}

// quarter of the bytes that all plans take on the device.
func quarter(ctx context.Context, o gpuOptions, paths []string) (int64, error) {
	probes, err := probeSizes(ctx, o, paths)
	if err != nil {
		return 0, err
	}
	var all int64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		all += probes[info.Size()].cost.Resident
	}
	return all / oversubscription, nil
}

func (d *demand) measure(ctx context.Context, o gpuOptions) (map[string]any, error) {
	rng := rand.New(rand.NewPCG(o.seed, 0))
	var hits, misses []float64
	wrong := 0
	began := time.Now()
	for range o.requests {
		p := d.plans[rng.IntN(len(d.plans))]
		start := time.Now()
		hit, out, err := d.request(ctx, p)
		if err != nil {
			return nil, err
		}
		ms := time.Since(start).Seconds() * 1e3
		if hit {
			hits = append(hits, ms)
		} else {
			misses = append(misses, ms)
		}
		if p.want == nil {
			p.want = out
		} else if !bytes.Equal(out, p.want) {
			wrong++
		}
	}
	figures := map[string]any{
		"requests": o.requests, "hits": len(hits), "misses": len(misses), "wrong_outputs": wrong,
		"requests_per_s": to1(float64(o.requests) / time.Since(began).Seconds()), "budget_mb": to2(float64(d.budget) / 1e6),
		"miss_ms": quantiles(misses),
	}
	if len(hits) > 0 {
		figures["hit_ms"] = quantiles(hits)
	}
	return figures, nil
}

func (d *demand) request(ctx context.Context, p *demandPlan) (hit bool, output []byte, err error) {
	hit = p.instance != nil
	if hit {
		d.touch(p)
	} else if err := d.load(ctx, p); err != nil {
		return false, nil, err
	}
	out := []tensor.Tensor{{Name: p.staged.Spec().Outputs[0].Name}}
	err = p.instance.Run(ctx, p.in, out)
	return hit, out[0].Data, err
}

func (d *demand) touch(p *demandPlan) {
	for i, l := range d.loaded {
		if l == p {
			d.loaded = append(append(d.loaded[:i:i], d.loaded[i+1:]...), p)
			return
		}
	}
}

func (d *demand) load(ctx context.Context, p *demandPlan) (err error) {
	need := p.staged.Cost(d.device).Resident
	for d.used+need > d.budget && len(d.loaded) > 0 {
		oldest := d.loaded[0]
		d.loaded = d.loaded[1:]
		d.used -= oldest.staged.Cost(d.device).Resident
		if err := oldest.instance.Close(); err != nil {
			return err
		}
		oldest.instance = nil
	}
	if p.instance, err = p.staged.Load(ctx, d.device); err != nil {
		return err
	}
	d.loaded = append(d.loaded, p)
	d.used += p.staged.Cost(d.device).Resident
	if p.in == nil {
		p.in, err = patternedInputs(p.staged.Spec())
	}
	return err
}

func (d *demand) close() error {
	var errs []error
	for _, p := range d.plans {
		if p.instance != nil {
			errs = append(errs, p.instance.Close())
		}
		errs = append(errs, p.staged.Close())
	}
	return errors.Join(errs...)
}
