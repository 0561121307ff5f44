package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// churnShape is the input of the models that churn swaps.
var churnShape = []int64{1, 3, 64, 64}

// churnModels generates models of one family that differ in their weights.
func churnModels(opt churnOptions) ([][]byte, error) {
	models := make([][]byte, opt.functions)
	for i := range models {
		var model bytes.Buffer
		spec := modelgen.Spec{Family: modelgen.SqueezeNet, Seed: opt.seed + uint64(i), Resolution: int(churnShape[2])}
		if err := modelgen.Write(&model, spec); err != nil {
			return nil, err
		}
		models[i] = model.Bytes()
	}
	return models, nil
}

// churnSubjects asks plain sessions for the right answers.
func churnSubjects(library string, models [][]byte, seed uint64) ([]*churnSubject, error) {
	const inputs = 4
	rng := rand.New(rand.NewPCG(seed, 7))
	subjects := make([]*churnSubject, len(models))
	for i, model := range models {
		s := &churnSubject{name: fmt.Sprintf("churn-%02d", i)}
		for range inputs {
			picture := make([]float32, churnShape[1]*churnShape[2]*churnShape[3])
			for i := range picture {
				picture[i] = rng.Float32()
			}
			want, err := plainAnswer(library, &subject{
				name: s.name, model: model, input: "input", output: "output",
				shape: churnShape, outShape: []int64{1, 1000}, data: floats(picture),
			})
			if err != nil {
				return nil, err
			}
			s.inputs = append(s.inputs, floats(picture))
			s.wants = append(s.wants, want)
		}
		subjects[i] = s
	}
	return subjects, nil
}

// plainAnswer is the output of a plain session.
func plainAnswer(library string, s *subject) ([]byte, error) {
	session, err := newDirect(library, s)
	if err != nil {
		return nil, err
	}
	defer session.close()
	if err := session.run(); err != nil {
		return nil, err
	}
	return session.output(), nil
}

// peakBytes is what the cache manager will count for a model while it loads it.
func peakBytes(ctx context.Context, library, dir string, model []byte) (int64, error) {
	cost, err := costOf(ctx, library, dir, model)
	return cost.Peak, err
}

// costOf is what the cache manager will count for a model. It loads the library
// under the engine, so no plain session may have been made before.
func costOf(ctx context.Context, library, dir string, model []byte) (engine.Cost, error) {
	file := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(file, model, 0o644); err != nil {
		return engine.Cost{}, err
	}
	e, err := onnxrt.New(onnxrt.Options{Library: library, Threads: 1})
	if err != nil {
		return engine.Cost{}, err
	}
	defer e.Close()
	staged, err := e.Open(ctx, engine.Model{Name: "cnn", Path: file, Format: engine.FormatONNX})
	if err != nil {
		return engine.Cost{}, err
	}
	defer staged.Close()
	return staged.Cost(onnxrt.CPU), nil
}
