package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// replaySubject is a function with a model of its own, one input, and the output
// that is right.
type replaySubject struct {
	name          string
	file          string // of the model
	plan          bool   // not ONNX
	kind          string // models of a kind differ in their weights only
	bytes, peak   int64  // on a device, and while it is brought there
	input, output string
	shape         []int64
	data, want    []byte
}

// environ is the function's environment, see stack/bench/function.
func (s *replaySubject) environ() map[string]string {
	return map[string]string{"model": "m", "input": s.input, "output": s.output, "shape": dims(s.shape)}
}

// place of the model in its function's image.
func (s *replaySubject) place() string {
	if s.plan {
		return "m/1/model.plan"
	}
	return "m/1/model.onnx"
}

// replayShape is the input of the models that are made for the CPU: ResNet-18 with
// fewer pixels, so that bringing one takes some times as long as computing with it.
var replayShape = []int64{1, 3, 128, 128}

const replayWidth = 1

// generatedSubjects makes models for the CPU. Their right outputs come from plain
// sessions of ONNX Runtime in this process.
func generatedSubjects(ctx context.Context, library, dir string, n int) (subjects []*replaySubject, err error) {
	var cost engine.Cost
	rng := rand.New(rand.NewPCG(1, 9))
	for i := range n {
		var model bytes.Buffer
		spec := modelgen.Spec{Family: modelgen.ResNet18, Width: replayWidth, Seed: uint64(i + 1), Resolution: int(replayShape[2])}
		if err := modelgen.Write(&model, spec); err != nil {
			return nil, err
		}
		picture := make([]float32, replayShape[1]*replayShape[2]*replayShape[3])
		for i := range picture {
			picture[i] = rng.Float32()
		}
		s := &replaySubject{
			name: fmt.Sprintf("replay-%03d", i), file: filepath.Join(dir, fmt.Sprintf("%03d.onnx", i)), kind: string(spec.Family),
			input: "input", output: "output", shape: replayShape, data: floats(picture),
		}
		if err := os.WriteFile(s.file, model.Bytes(), 0o644); err != nil {
			return nil, err
		}
		if i == 0 {
			// This loads the library under an engine: it comes before all plain sessions.
			if cost, err = costOf(ctx, library, dir, model.Bytes()); err != nil {
				return nil, err
			}
		}
		s.bytes, s.peak = cost.Resident, cost.Peak // all are equally large
		s.want, err = plainAnswer(library, &subject{
			name: s.name, model: model.Bytes(), input: s.input, output: s.output, shape: s.shape, outShape: []int64{1, 1000}, data: s.data,
		})
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// planSubjects are plans of a folder, spread evenly over their names. Their right
// outputs are found out later: those of the model while it is resident. shared is
// what a device needs beside the models that it holds: for all together, and for what
// stays there of each that was evicted.
func planSubjects(ctx context.Context, o *replayOptions) (subjects []*replaySubject, shared int64, err error) {
	g := gpuOptions{library: o.library, settings: o.settings, plans: o.plans}
	all, err := g.planFiles()
	if err != nil {
		return nil, 0, err
	}
	if len(all) < o.functions {
		return nil, 0, fmt.Errorf("%s has %d plans for %d functions", o.plans, len(all), o.functions)
	}
	paths := make([]string, o.functions)
	for i := range paths {
		paths[i] = all[i*len(all)/o.functions]
	}
	var overhead, residue int64
	probes, err := probeSizes(ctx, g, paths)
	if err != nil {
		return nil, 0, err
	}
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, 0, err
		}
		p := probes[info.Size()]
		io, err := newIOSpec(p.spec)
		if err != nil {
			return nil, 0, err
		}
		if io.input.Datatype != tensor.FP32 {
			return nil, 0, fmt.Errorf("%s takes %s; functions of this benchmark send FP32", path, io.input.Datatype)
		}
		s := &replaySubject{
			name: fmt.Sprintf("replay-%03d", i), file: path, plan: true, kind: fmt.Sprintf("plan of %d bytes", info.Size()), bytes: p.cost.Resident, peak: p.cost.Peak,
			input: io.input.Name, output: io.output.Name, shape: io.input.Shape, data: make([]byte, io.inputSize),
		}
		fillPattern(s.data)
		subjects = append(subjects, s)
		overhead = max(overhead, p.overhead())
		residue += p.cost.Residual
	}
	return subjects, overhead + residue, nil
}
