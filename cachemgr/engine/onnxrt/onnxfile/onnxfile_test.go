package onnxfile

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile/onnxtest"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func generated(t testing.TB, s modelgen.Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := modelgen.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCNNsAreReadWhole(t *testing.T) {
	// The peaks were worked out by hand from the layers of each network at
	// 224x224 pixels: the largest neighbours that live at one time. They are two
	// maps of the first layers, or in ResNet-50 the two sides of the first
	// block's addition and its sum; MobileNet has two scalars more.
	const mapBytes = 4 * 112 * 112
	for _, c := range []struct {
		family   modelgen.Family
		weights  int64
		filters  int64 // without biases and the last, full layer
		activity int64
	}{
		{modelgen.ResNet18, 4 * 11_684_712, 4 * 11_166_912, 64 * mapBytes * 2},
		{modelgen.ResNet50, 4 * 25_530_472, 4 * 23_454_912, 3 * 256 * mapBytes / 4},
		{modelgen.MobileNetV2, 4 * 3_487_816, 4 * 2_189_760, (96+96)*mapBytes + 8},
		{modelgen.SqueezeNet, 4 * 1_235_496, 4 * 1_231_552, 64 * 4 * 111 * 111 * 2},
	} {
		m, err := Parse(generated(t, modelgen.Spec{Family: c.family}))
		if err != nil {
			t.Fatalf("%s: %v", c.family, err)
		}
		if m.WeightBytes != c.weights || m.FilterBytes != c.filters || m.ActivationBytes != c.activity || m.Opset != 13 {
			t.Errorf("%s: weights %d, filters %d, activations %d, opset %d; want %d, %d, %d, 13",
				c.family, m.WeightBytes, m.FilterBytes, m.ActivationBytes, m.Opset, c.weights, c.filters, c.activity)
		}
		if got := fmt.Sprint(m.Inputs, m.Outputs); got != "[{input FP32 [{1 } {3 } {224 } {224 }]}] [{output FP32 [{1 } {1000 }]}]" {
			t.Errorf("%s: %s", c.family, got)
		}
	}
}

func TestDynamicDimensionsKeepTheirNames(t *testing.T) {
	m, err := Parse(generated(t, modelgen.Spec{Family: modelgen.Scale}))
	if err != nil {
		t.Fatal(err)
	}
	want := []Dim{{-1, "batch"}, {4, ""}}
	if !slices.Equal(m.Inputs[0].Dims, want) || !slices.Equal(m.Outputs[0].Dims, want) {
		t.Errorf("inputs %v, outputs %v, want %v", m.Inputs, m.Outputs, want)
	}
}

func TestOperatorsAreInferred(t *testing.T) {
	for _, c := range []struct {
		name  string
		dims  []any // of the input x
		parts [][]byte
		want  []int64
	}{
		{"unary", []any{2, 3}, [][]byte{onnxtest.Op("Relu", "x", "y")}, []int64{2, 3}},
		{"broadcast up", []any{5, 1}, [][]byte{onnxtest.Int64s("b", 1, 2, 3), onnxtest.Op("Add", "x b", "y")}, []int64{5, 3}},
		{"broadcast dynamic", []any{"n", 3}, [][]byte{onnxtest.Int64s("b", 1, 2, 3), onnxtest.Op("Add", "x b", "y")}, []int64{-1, 3}},
		{"conv without weights", []any{1, 3, 9, 9}, [][]byte{onnxtest.Op("Conv", "x", "y")}, nil},
		{"pool", []any{1, 3, 7, 9}, [][]byte{onnxtest.Op("MaxPool", "x", "y", onnxtest.Ints("kernel_shape", 3, 3), onnxtest.Ints("strides", 2, 2))}, []int64{1, 3, 3, 4}},
		{"pool rounded up", []any{1, 3, 8, 8}, [][]byte{onnxtest.Op("AveragePool", "x", "y", onnxtest.Ints("kernel_shape", 3, 3), onnxtest.Ints("strides", 2, 2), onnxtest.Int("ceil_mode", 1))}, []int64{1, 3, 4, 4}},
		{"pool smaller than its window", []any{1, 3, 2, 2}, [][]byte{onnxtest.Op("MaxPool", "x", "y", onnxtest.Ints("kernel_shape", 9, 9))}, []int64{1, 3, 0, 0}},
		{"global pool", []any{"n", 3, 7, 9}, [][]byte{onnxtest.Op("GlobalAveragePool", "x", "y")}, []int64{-1, 3, 1, 1}},
		{"flatten", []any{2, 3, 4}, [][]byte{onnxtest.Op("Flatten", "x", "y", onnxtest.Int("axis", 2))}, []int64{6, 4}},
		{"flatten dynamic", []any{"n", 3, 4}, [][]byte{onnxtest.Op("Flatten", "x", "y")}, []int64{-1, 12}},
		{"flatten nonsense", []any{2, 3}, [][]byte{onnxtest.Op("Flatten", "x", "y", onnxtest.Int("axis", 7))}, nil},
		{"reshape", []any{2, 3, 4}, [][]byte{onnxtest.Int64s("s", 0, -1), onnxtest.Op("Reshape", "x s", "y")}, []int64{2, 12}},
		{"reshape dynamic", []any{"n", 3}, [][]byte{onnxtest.Int64s("s", -1, 3), onnxtest.Op("Reshape", "x s", "y")}, []int64{-1, 3}},
		{"concat", []any{2, 3}, [][]byte{onnxtest.Op("Concat", "x x x", "y", onnxtest.Int("axis", -1))}, []int64{2, 9}},
		{"concat nonsense", []any{2, 3}, [][]byte{onnxtest.Op("Concat", "x x", "y", onnxtest.Int("axis", 9))}, nil},
		{"matmul", []any{5, 2, 3}, [][]byte{onnxtest.Op("Transpose", "x", "t", onnxtest.Ints("perm", 0, 2, 1)), onnxtest.Op("MatMul", "x t", "y")}, []int64{5, 2, 2}},
		{"transpose nonsense", []any{2, 3}, [][]byte{onnxtest.Op("Transpose", "x", "y", onnxtest.Ints("perm", 0, 5))}, nil},
		{"gemm", []any{2, 3}, [][]byte{onnxtest.Op("Gemm", "x x", "y", onnxtest.Int("transB", 1))}, []int64{2, 2}},
		{"cast", []any{2}, [][]byte{onnxtest.Op("Cast", "x", "y", onnxtest.Int("to", 11))}, []int64{2}},
		{"made", nil, [][]byte{onnxtest.Int64s("s", 4, 5), onnxtest.Op("ConstantOfShape", "s", "y")}, []int64{4, 5}},
		{"unknown", []any{2}, [][]byte{onnxtest.Op("Mystery", "x", "y")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reader{values: map[string]value{}}
			if err := r.graph(bytes.Join(append(c.parts, onnxtest.Info(onnxtest.Input, "x", 1, c.dims...)), nil), 0); err != nil {
				t.Fatal(err)
			}
			r.infer()
			y := r.values["y"]
			if y.known != (c.want != nil) || !slices.Equal(y.dims, c.want) && y.known {
				t.Errorf("got %+v, want %v", y, c.want)
			}
		})
	}
}

func TestLiveness(t *testing.T) {
	// a (8 bytes) lives through both of its readers; b and c replace each other.
	m, err := Parse(onnxtest.Model(
		onnxtest.Info(onnxtest.Input, "x", 1, 2), onnxtest.Info(onnxtest.Output, "y", 1, 2),
		onnxtest.Op("Relu", "x", "a"), onnxtest.Op("Neg", "a", "b"), onnxtest.Op("Neg", "b", "c"), onnxtest.Op("Add", "a c", "y")))
	if err != nil {
		t.Fatal(err)
	}
	if m.ActivationBytes != 24 {
		t.Errorf("peak of %d bytes, want 24", m.ActivationBytes)
	}
	// What is not known counts as much as what it was made from.
	m, err = Parse(onnxtest.Model(
		onnxtest.Info(onnxtest.Input, "x", 1, 100), onnxtest.Info(onnxtest.Output, "y", 1, 1),
		onnxtest.Op("Mystery", "x", "a"), onnxtest.Op("Mystery", "a", "y")))
	if err != nil {
		t.Fatal(err)
	}
	if m.ActivationBytes != 400 {
		t.Errorf("peak of %d bytes, want 400", m.ActivationBytes)
	}
}

func TestRefusals(t *testing.T) {
	x, y := onnxtest.Info(onnxtest.Input, "x", 1, 2), onnxtest.Info(onnxtest.Output, "y", 1, 2)
	external := onnxtest.Message(tensorExternal, onnxtest.Text(1, "location"), onnxtest.Text(2, "../../etc/shadow"))
	inGraph := onnxtest.Message(nodeAttribute, onnxtest.Text(attrName, "body"), onnxtest.Message(attrGraph, onnxtest.Message(graphInitializer, onnxtest.Text(tensorName, "w"), external)))
	nested := onnxtest.Op("Relu", "x", "y")
	for range maxDepth + 2 {
		nested = onnxtest.Op("If", "x", "y", onnxtest.Message(nodeAttribute, onnxtest.Message(attrGraph, nested)))
	}
	whole := generated(t, modelgen.Spec{Family: modelgen.ResNet18, Width: 0.125, Resolution: 32})
	for _, c := range []struct {
		name string
		file []byte
		says string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("this is no model at all"), "no"},
		{"no graph", onnxtest.Number(1, 8), "0 graphs"},
		{"two graphs", append(onnxtest.Model(x, y), onnxtest.Model(x, y)...), "2 graphs"},
		{"truncated", whole[:len(whole)/2], "truncated"},
		{"no outputs", onnxtest.Model(x), "no outputs"},
		{"external initializer", onnxtest.Model(x, y, onnxtest.Message(graphInitializer, onnxtest.Text(tensorName, "w"), external)), `tensor "w": it keeps data in another file`},
		{"external by location only", onnxtest.Model(x, y, onnxtest.Message(graphInitializer, onnxtest.Number(tensorLocation, 1))), "another file"},
		{"external in an attribute", onnxtest.Model(x, y, onnxtest.Op("Constant", "", "y", onnxtest.Message(nodeAttribute, onnxtest.Message(attrTensor, external)))), "another file"},
		{"external in a list", onnxtest.Model(x, y, onnxtest.Op("Constant", "", "y", onnxtest.Message(nodeAttribute, onnxtest.Message(attrTensors, external)))), "another file"},
		{"external in a subgraph", onnxtest.Model(x, y, onnxtest.Op("If", "x", "y", inGraph)), "another file"},
		{"external in a sparse tensor", onnxtest.Model(x, y, onnxtest.Message(graphSparse, onnxtest.Message(sparseValues, external))), "another file"},
		{"external in a function", append(onnxtest.Model(x, y), onnxtest.Message(modelFunctions, onnxtest.Message(functionNode, inGraph))...), "another file"},
		{"deep", onnxtest.Model(x, y, nested), "nested"},
		{"strings", onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", elemString, 2), y), "strings"},
		{"sequence", onnxtest.Model(onnxtest.Message(onnxtest.Input, onnxtest.Text(infoName, "x"), onnxtest.Message(infoType, onnxtest.Message(4, nil))), y), "only dense tensors"},
		{"complex", onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", 14, 2), y), "element type 14"},
		{"no shape", onnxtest.Model(onnxtest.Message(onnxtest.Input, onnxtest.Text(infoName, "x"), onnxtest.Message(infoType, onnxtest.Message(typeTensor, onnxtest.Number(typeElem, 1)))), y), "does not declare its shape"},
		{"twice", onnxtest.Model(x, x, y), "twice"},
		{"negative dimension", onnxtest.Model(x, y, onnxtest.Message(graphInitializer, onnxtest.Number(tensorDims, -4))), "dimension of -4"},
		{"more weights than file", onnxtest.Model(x, y, onnxtest.Message(graphInitializer, onnxtest.Number(tensorDims, 1<<40), onnxtest.Number(tensorDims, 1<<40), onnxtest.Number(tensorType, 1))), "claim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(c.file)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %+v, %v; want an error that says %q", m, err, c.says)
			}
		})
	}
}

// An input that is also an initializer has a default, so callers need not give
// it; an output without a declared shape has the one that the nodes give it.
func TestInterfacesThatAreNotDeclared(t *testing.T) {
	bare := onnxtest.Message(onnxtest.Output, onnxtest.Text(infoName, "y"), onnxtest.Message(infoType, onnxtest.Message(typeTensor, onnxtest.Number(typeElem, 1))))
	m, err := Parse(onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", 1, "n", 3), onnxtest.Info(onnxtest.Input, "b", elemInt64, 3), onnxtest.Int64s("b", 1, 2, 3), onnxtest.Op("Add", "x b", "y"), bare))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Inputs) != 1 || m.Inputs[0].Name != "x" || m.WeightBytes != 24 {
		t.Errorf("%+v", m)
	}
	if want := []Dim{{-1, ""}, {3, ""}}; !slices.Equal(m.Outputs[0].Dims, want) || m.Outputs[0].Datatype != tensor.FP32 {
		t.Errorf("output %+v, want %v", m.Outputs[0], want)
	}
}

func FuzzParse(f *testing.F) {
	for _, family := range []modelgen.Family{modelgen.Scale, modelgen.Endless, modelgen.Huge, modelgen.Relu} {
		f.Add(generated(f, modelgen.Spec{Family: family}))
	}
	f.Add(onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", 1, "n", 3), onnxtest.Info(onnxtest.Output, "y", 1, 2), onnxtest.Int64s("b", 0, -1),
		onnxtest.Op("Reshape", "x b", "r"), onnxtest.Op("MatMul", "r r", "m"), onnxtest.Op("Concat", "m r", "c"), onnxtest.Op("Flatten", "c", "y"),
		onnxtest.Op("MaxPool", "x", "p", onnxtest.Ints("kernel_shape", 2)), onnxtest.Op("Conv", "x p", "q")))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := Parse(file)
		if err != nil {
			return
		}
		if m.WeightBytes < 0 || m.ActivationBytes < 0 || len(m.Outputs) == 0 {
			t.Errorf("%+v", m)
		}
		for _, v := range append(m.Inputs, m.Outputs...) {
			for _, d := range v.Dims {
				if d.Size < -1 || v.Name == "" || v.Datatype.Size() == 0 {
					t.Errorf("%+v", v)
				}
			}
		}
	})
}

// A small file must not cost much: not time, where lists are walked in lists, and
// not memory, where two bytes of the file become a hundred.
func TestFilesThatCostMuch(t *testing.T) {
	x, y := onnxtest.Info(onnxtest.Input, "x", 1, 2), onnxtest.Info(onnxtest.Output, "y", 1, 2)
	ones := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	flat := onnxtest.Message(graphInitializer, onnxtest.Text(tensorName, "w"), onnxtest.Number(tensorType, 1), onnxtest.Message(tensorDims, ones(1<<17)))
	declared := onnxtest.Info(onnxtest.Input, "w", 1, slices.Repeat([]any{1}, 1<<17)...)
	add := onnxtest.Op("Sum", strings.Repeat("w ", 1<<17), "y")
	nothing := func(num protowire.Number, n int) []byte { return bytes.Repeat(onnxtest.Message(num), n) }
	const many = 2 << 20
	for name, file := range map[string][]byte{
		"dimensions of an initializer":  onnxtest.Model(x, y, flat, add),
		"dimensions of an input":        onnxtest.Model(x, y, declared, add),
		"nodes":                         onnxtest.Model(x, y, nothing(graphNode, many)),
		"inputs of a node":              onnxtest.Model(x, y, onnxtest.Message(graphNode, nothing(nodeInput, many))),
		"attributes of a node":          onnxtest.Model(x, y, onnxtest.Message(graphNode, nothing(nodeAttribute, many))),
		"inputs":                        onnxtest.Model(x, y, nothing(graphInput, many)),
		"nodes of a graph in a node":    onnxtest.Model(x, y, onnxtest.Op("If", "x", "y", onnxtest.Message(nodeAttribute, onnxtest.Message(attrGraph, nothing(graphNode, many))))),
		"integers of an attribute":      onnxtest.Model(x, y, onnxtest.Op("Relu", "x", "y", onnxtest.Message(nodeAttribute, onnxtest.Message(attrInts, ones(many))))),
		"integers, one field for each":  onnxtest.Model(x, y, onnxtest.Op("Relu", "x", "y", onnxtest.Message(nodeAttribute, bytes.Repeat(onnxtest.Number(attrInts, 1), many)))),
		"dimensions of a packed weight": onnxtest.Model(x, y, onnxtest.Message(graphInitializer, onnxtest.Message(tensorDims, ones(many)))),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := Parse(file)
			runtime.ReadMemStats(&after)
			took, ints := after.TotalAlloc-before.TotalAlloc, strings.HasPrefix(name, "integers")
			if d := time.Since(began); d > 5*time.Second || took > 512<<20 {
				t.Errorf("%d bytes took %v and %d bytes", len(file), d, took)
			}
			if (err == nil) != ints { // trees have long lists of integers
				t.Errorf("got %v", err)
			}
		})
	}
}
