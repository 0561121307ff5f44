package onnxfile

import (
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// Model is what a file says about itself.
type Model struct {
	Opset   int64   // of the standard operators
	Inputs  []Value // those that a caller must give: initializers are none
	Outputs []Value
	// WeightBytes is the size of all initializers.
	WeightBytes int64
	// FilterBytes are those of them that are filters of convolutions.
	FilterBytes int64
	// ActivationBytes estimates the most that the tensors between the operators
	// take at one time, dynamic dimensions counted as one.
	ActivationBytes int64
}

// Value is the type of an input or output.
type Value struct {
	Name     string
	Datatype tensor.Datatype
	Dims     []Dim
}

// Dim is one dimension: Size, or -1 with the name that the file has for it, if
// it has one. Equal names are equal sizes.
type Dim struct {
	Size int64
	Name string
}

// MaxBytes is the size that a protobuf message can have at most; larger models
// keep their weights in other files, which is not allowed here.
const MaxBytes = 1<<31 - 1

// Parse reads a file. The errors name what was wrong with it.
func Parse(file []byte) (*Model, error) {
	if len(file) == 0 {
		return nil, errors.New("the file is empty")
	}
	if len(file) > MaxBytes {
		return nil, fmt.Errorf("the file has %d bytes; an ONNX file has at most %d", len(file), MaxBytes)
	}
	r := reader{values: map[string]value{}}
	m := &Model{}
	graphs := 0
	err := each(file, func(f field) error {
		switch {
		case f.isBytes(modelGraph):
			graphs++
			return r.graph(f.bytes, 0)
		case f.isBytes(modelOpset):
			return parseOpset(m, f.bytes)
		case f.isBytes(modelFunctions):
			return r.function(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if graphs != 1 {
		return nil, fmt.Errorf("the file has %d graphs instead of one: it is no ONNX model", graphs)
	}
	if m.Inputs, err = r.interfaces("input", r.inputs); err != nil {
		return nil, err
	}
	r.infer()
	if m.Outputs, err = r.interfaces("output", r.outputs); err != nil {
		return nil, err
	}
	if len(m.Outputs) == 0 {
		return nil, errors.New("the graph has no outputs")
	}
	// Small integers take a byte each in the file, and up to eight in memory.
	if r.weightBytes > 8*int64(len(file)) {
		return nil, fmt.Errorf("the initializers claim %d bytes, more than a file of %d can hold", r.weightBytes, len(file))
	}
	m.WeightBytes = r.weightBytes
	m.FilterBytes = r.filterBytes()
	m.ActivationBytes = r.activationPeak()
	return m, nil
}

// parseOpset reads one OperatorSetIdProto; the standard domain is "" or
// "ai.onnx".
func parseOpset(m *Model, msg []byte) error {
	domain, version := "", int64(0)
	err := each(msg, func(f field) error {
		switch {
		case f.isBytes(1):
			domain = string(f.bytes)
		case f.isVarint(2):
			version = int64(f.varint)
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		m.Opset = version
	}
	return err
}

// interfaces checks the declared inputs or outputs of the graph.
func (r *reader) interfaces(what string, declared []declaration) ([]Value, error) {
	seen := map[string]bool{}
	var out []Value
	for _, d := range declared {
		if what == "input" && r.values[d.name].initializer {
			continue
		}
		if d.name == "" || seen[d.name] {
			return nil, fmt.Errorf("%s %q is declared without a name or twice", what, d.name)
		}
		seen[d.name] = true
		v, err := r.interfaceOf(d)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", what, d.name, err)
		}
		out = append(out, v)
	}
	return out, nil
}

func (r *reader) interfaceOf(d declaration) (Value, error) {
	v := Value{Name: d.name, Datatype: datatypes[d.elem], Dims: d.dims}
	switch {
	case !d.tensor:
		return v, errors.New("it is a sequence, map or sparse tensor; only dense tensors are supported")
	case d.elem == elemString:
		return v, errors.New("it is a tensor of strings, which is not supported; encode the text before the model")
	case v.Datatype == "":
		return v, fmt.Errorf("its element type %d is not supported", d.elem)
	}
	if !d.ranked {
		inferred, ok := r.values[d.name]
		if !ok || !inferred.known {
			return v, errors.New("the file does not declare its shape")
		}
		for _, n := range inferred.dims {
			v.Dims = append(v.Dims, Dim{Size: n})
		}
	}
	if v.Dims == nil {
		v.Dims = []Dim{}
	}
	return v, nil
}

const elemString = 8

// datatypes by the number that TensorProto has for them.
var datatypes = map[int64]tensor.Datatype{
	1: tensor.FP32, 2: tensor.Uint8, 3: tensor.Int8, 4: tensor.Uint16,
	5: tensor.Int16, 6: tensor.Int32, 7: tensor.Int64, 9: tensor.Bool,
	10: tensor.FP16, 11: tensor.FP64, 12: tensor.Uint32, 13: tensor.Uint64,
	16: tensor.BF16,
}
