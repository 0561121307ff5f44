package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/native"
)

// probe is what a plan is and costs, found out by running it in this process.
type probe struct {
	spec   engine.Spec
	cost   engine.Cost
	guess  int64         // bytes on the device that the engine wants for the first load
	device engine.Device // after the run
	output []byte

	open, load, run, again time.Duration // the engine, the first load, run, and the next run
}

// probePlan runs a plan once in an engine of its own.
func probePlan(ctx context.Context, o gpuOptions, path string) (p probe, err error) {
	began := time.Now()
	e, err := native.New(native.Options{Library: o.library, Settings: o.settings, Slots: 1})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	p.open = time.Since(began)
	devices, err := e.Devices(ctx)
	if err != nil {
		return p, err
	}
	st, err := e.Open(ctx, planModel(path))
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p.guess = st.Cost(devices[0].ID).Peak
	began = time.Now()
	i, err := st.Load(ctx, devices[0].ID)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	p.load = time.Since(began)
	p.spec, p.cost = st.Spec(), st.Cost(devices[0].ID)
	in, err := patternedInputs(p.spec)
	if err != nil {
		return p, err
	}
	for _, took := range []*time.Duration{&p.run, &p.again} {
		out := []tensor.Tensor{{Name: p.spec.Outputs[0].Name}}
		began = time.Now()
		if err := i.Run(ctx, in, out); err != nil {
			return p, err
		}
		*took = time.Since(began)
		p.output = out[0].Data
	}
	devices, err = e.Devices(ctx)
	if err == nil {
		p.device = devices[0]
	}
	return p, err
}

// budget is for a number of such models, and for the first load of one.
func (p probe) budget(models float64) int64 {
	return p.overhead() + max(p.guess, int64(models*float64(p.cost.Resident)))
}

// overhead is what all models share with two runs at once; the probe had one.
func (p probe) overhead() int64 { return 2 * p.device.Overhead }

func planModel(path string) engine.Model {
	return engine.Model{Name: path, Path: path, Format: engine.FormatPlan}
}

// patternedInputs are inputs for one row.
func patternedInputs(s engine.Spec) ([]tensor.Tensor, error) {
	in := make([]tensor.Tensor, len(s.Inputs))
	for i, spec := range s.Inputs {
		shape := oneRow(spec.Shape)
		size, err := tensor.ByteSize(spec.Datatype, shape)
		if err != nil || spec.Datatype != tensor.FP32 {
			return nil, fmt.Errorf("input %s, %s %v: only FP32 can be measured with: %w", spec.Name, spec.Datatype, shape, err)
		}
		in[i] = tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: shape, Data: make([]byte, size)}
		fillPattern(in[i].Data)
	}
	return in, nil
}

// oneRow is a shape with 1 for what is dynamic.
func oneRow(shape []int64) []int64 {
	out := make([]int64, len(shape))
	for i, d := range shape {
		out[i] = max(d, 1)
	}
	return out
}

// fillPattern writes floats from -1 to 1; zeros would hide wrong weights.
func fillPattern(data []byte) {
	for i := 0; i+4 <= len(data); i += 4 {
		binary.LittleEndian.PutUint32(data[i:], math.Float32bits(float32(i/4%7)/3-1))
	}
}

// probeSizes probes one plan of each size: plans of one size differ in their
// weights only.
func probeSizes(ctx context.Context, o gpuOptions, paths []string) (map[int64]probe, error) {
	found := map[int64]probe{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if _, ok := found[info.Size()]; ok {
			continue
		}
		if found[info.Size()], err = probePlan(ctx, o, path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return found, nil
}
