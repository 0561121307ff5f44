package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// resolution of the pictures that the generated CNNs take, in pixels.
const resolution = 96

// function is one function of the demo, and what it should answer.
type function struct {
	name   string
	model  string // inside the function
	file   []byte // the model
	input  tensor.Spec
	output tensor.Spec
	cases  []sample
	// raw is the output tensor in an answer, as bytes.
	raw func(answer []byte) ([]byte, error)
}

// sample is one input with the answer that is right.
type sample struct {
	body  []byte // of the request
	input []float32
	want  []byte // the output tensor's bytes, as plain ONNX Runtime has them
	label int    // the digit
}

// cnn is one of the generated models. The widths are small, so that the demo is
// quick on two cores.
type cnn struct {
	name   string
	family modelgen.Family
	width  float64
}

// From most to least requested.
var cnns = []cnn{
	{"squeezenet", modelgen.SqueezeNet, 1},
	{"resnet18", modelgen.ResNet18, 0.5},
	{"mobilenetv2", modelgen.MobileNetV2, 0.75},
	{"resnet50", modelgen.ResNet50, 0.25},
	{"vgg16", modelgen.VGG16, 0.25},
}

// newFunctions makes all functions, without the answers.
func newFunctions(seed int) ([]*function, error) {
	first, err := newDigits()
	if err != nil {
		return nil, err
	}
	fns := []*function{first}
	for i, c := range cnns {
		f, err := newCNN(c, uint64(seed), uint64(i))
		if err != nil {
			return nil, err
		}
		fns = append(fns, f)
	}
	return fns, nil
}

func newDigits() (*function, error) {
	scans, err := digits.HeldOut()
	if err != nil {
		return nil, err
	}
	f := &function{
		name: "digits", model: "digits", file: digits.Model,
		input:  tensor.Spec{Name: "pixels", Datatype: tensor.FP32, Shape: []int64{1, 1, digits.Side, digits.Side}},
		output: tensor.Spec{Name: "probabilities", Datatype: tensor.FP32, Shape: []int64{1, 10}},
		raw: func(answer []byte) ([]byte, error) {
			a, err := parseDigit(answer)
			return floatBytes(a.Probabilities), err
		},
	}
	for _, s := range scans {
		body, err := s.PNG()
		if err != nil {
			return nil, err
		}
		f.cases = append(f.cases, sample{body: body, input: s.Input(), label: s.Digit})
	}
	return f, nil
}

// digit is what the function digits answers.
type digit struct {
	Class         int       `json:"class"`
	Probabilities []float32 `json:"probabilities"`
}

func parseDigit(answer []byte) (digit, error) {
	var d digit
	if err := json.Unmarshal(answer, &d); err != nil {
		return d, fmt.Errorf("answer %q: %w", answer, err)
	}
	return d, nil
}

// newCNN generates a model and a few random pictures for it.
func newCNN(c cnn, seed, stream uint64) (*function, error) {
	const pictures = 6
	var file bytes.Buffer
	spec := modelgen.Spec{Family: c.family, Seed: seed, Width: c.width, Resolution: resolution}
	if err := modelgen.Write(&file, spec); err != nil {
		return nil, err
	}
	f := &function{
		name: c.name, model: "cnn", file: file.Bytes(),
		input:  tensor.Spec{Name: "input", Datatype: tensor.FP32, Shape: []int64{1, 3, resolution, resolution}},
		output: tensor.Spec{Name: "output", Datatype: tensor.FP32, Shape: []int64{1, 1000}},
		raw:    func(answer []byte) ([]byte, error) { return answer, nil },
	}
	rng := rand.New(rand.NewPCG(seed, stream))
	for range pictures {
		input := make([]float32, 3*resolution*resolution)
		for i := range input {
			input[i] = rng.Float32()
		}
		f.cases = append(f.cases, sample{body: floatBytes(input), input: input})
	}
	return f, nil
}

// scaffold turns what `faas-cli new --lang go-trt` wrote into this function. The
// function digits is what the template brings, and stays as it is.
func (f *function) scaffold(dir, source string) error {
	if f.name == "digits" {
		return nil
	}
	handler, err := os.ReadFile(filepath.Join(source, "examples", "cnn", "handler.go"))
	if err != nil {
		return err
	}
	version := filepath.Join(dir, "models", f.model, "1")
	if err := os.MkdirAll(version, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "handler.go"), handler, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(version, "model.onnx"), f.file, 0o644)
}
