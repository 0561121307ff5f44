package onnxfile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
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
		activity int64
	}{
		{modelgen.ResNet18, 4 * 11_684_712, 64 * mapBytes * 2},
		{modelgen.ResNet50, 4 * 25_530_472, 3 * 256 * mapBytes / 4},
		{modelgen.MobileNetV2, 4 * 3_487_816, (96+96)*mapBytes + 8},
		{modelgen.SqueezeNet, 4 * 1_235_496, 64 * 4 * 111 * 111 * 2},
	} {
		m, err := Parse(generated(t, modelgen.Spec{Family: c.family}))
		if err != nil {
			t.Fatalf("%s: %v", c.family, err)
		}
		if m.WeightBytes != c.weights || m.ActivationBytes != c.activity || m.Opset != 13 {
			t.Errorf("%s: weights %d, activations %d, opset %d; want %d, %d, 13",
				c.family, m.WeightBytes, m.ActivationBytes, m.Opset, c.weights, c.activity)
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

// Small builders of messages, to make files that no exporter writes.

func msg(num protowire.Number, parts ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(parts, nil))
}

func text(num protowire.Number, s string) []byte { return msg(num, []byte(s)) }

func number(num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
}

func info(num protowire.Number, name string, elem int64, dims ...int64) []byte {
	var shape []byte
	for _, d := range dims {
		shape = append(shape, msg(shapeDim, number(dimSize, d))...)
	}
	return msg(num, text(infoName, name), msg(infoType, msg(typeTensor, number(typeElem, elem), msg(typeShape, shape))))
}

func op(name string, inputs, outputs string, attrs ...[]byte) []byte {
	var parts [][]byte
	for _, in := range strings.Fields(inputs) {
		parts = append(parts, text(nodeInput, in))
	}
	for _, out := range strings.Fields(outputs) {
		parts = append(parts, text(nodeOutput, out))
	}
	return msg(graphNode, append(append(parts, text(nodeOpType, name)), attrs...)...)
}

func attrInt(name string, v int64) []byte {
	return msg(nodeAttribute, text(attrName, name), number(attrI, v))
}

func attrList(name string, vs ...int64) []byte {
	parts := [][]byte{text(attrName, name)}
	for _, v := range vs {
		parts = append(parts, number(attrInts, v))
	}
	return msg(nodeAttribute, parts...)
}

func model(graph ...[]byte) []byte { return msg(modelGraph, graph...) }

func int64s(name string, vs ...int64) []byte {
	parts := [][]byte{number(tensorDims, int64(len(vs))), number(tensorType, elemInt64), text(tensorName, name)}
	for _, v := range vs {
		parts = append(parts, number(tensorInt64s, v))
	}
	return msg(graphInitializer, parts...)
}

func TestOperatorsAreInferred(t *testing.T) {
	for _, c := range []struct {
		name  string
		dims  []int64 // of the input x
		parts [][]byte
		want  []int64
	}{
		{"unary", []int64{2, 3}, [][]byte{op("Relu", "x", "y")}, []int64{2, 3}},
		{"broadcast up", []int64{5, 1}, [][]byte{int64s("b", 1, 2, 3), op("Add", "x b", "y")}, []int64{5, 3}},
		{"broadcast dynamic", []int64{-1, 3}, [][]byte{int64s("b", 1, 2, 3), op("Add", "x b", "y")}, []int64{-1, 3}},
		{"conv without weights", []int64{1, 3, 9, 9}, [][]byte{op("Conv", "x", "y")}, nil},
		{"pool", []int64{1, 3, 7, 9}, [][]byte{op("MaxPool", "x", "y", attrList("kernel_shape", 3, 3), attrList("strides", 2, 2))}, []int64{1, 3, 3, 4}},
		{"pool rounded up", []int64{1, 3, 8, 8}, [][]byte{op("AveragePool", "x", "y", attrList("kernel_shape", 3, 3), attrList("strides", 2, 2), attrInt("ceil_mode", 1))}, []int64{1, 3, 4, 4}},
		{"pool smaller than its window", []int64{1, 3, 2, 2}, [][]byte{op("MaxPool", "x", "y", attrList("kernel_shape", 9, 9))}, []int64{1, 3, 0, 0}},
		{"global pool", []int64{-1, 3, 7, 9}, [][]byte{op("GlobalAveragePool", "x", "y")}, []int64{-1, 3, 1, 1}},
		{"flatten", []int64{2, 3, 4}, [][]byte{op("Flatten", "x", "y", attrInt("axis", 2))}, []int64{6, 4}},
		{"flatten dynamic", []int64{-1, 3, 4}, [][]byte{op("Flatten", "x", "y")}, []int64{-1, 12}},
		{"flatten nonsense", []int64{2, 3}, [][]byte{op("Flatten", "x", "y", attrInt("axis", 7))}, nil},
		{"reshape", []int64{2, 3, 4}, [][]byte{int64s("s", 0, -1), op("Reshape", "x s", "y")}, []int64{2, 12}},
		{"reshape dynamic", []int64{-1, 3}, [][]byte{int64s("s", -1, 3), op("Reshape", "x s", "y")}, []int64{-1, 3}},
		{"concat", []int64{2, 3}, [][]byte{op("Concat", "x x x", "y", attrInt("axis", -1))}, []int64{2, 9}},
		{"concat nonsense", []int64{2, 3}, [][]byte{op("Concat", "x x", "y", attrInt("axis", 9))}, nil},
		{"matmul", []int64{5, 2, 3}, [][]byte{op("Transpose", "x", "t", attrList("perm", 0, 2, 1)), op("MatMul", "x t", "y")}, []int64{5, 2, 2}},
		{"transpose nonsense", []int64{2, 3}, [][]byte{op("Transpose", "x", "y", attrList("perm", 0, 5))}, nil},
		{"gemm", []int64{2, 3}, [][]byte{op("Gemm", "x x", "y", attrInt("transB", 1))}, []int64{2, 2}},
		{"cast", []int64{2}, [][]byte{op("Cast", "x", "y", attrInt("to", 11))}, []int64{2}},
		{"made", nil, [][]byte{int64s("s", 4, 5), op("ConstantOfShape", "s", "y")}, []int64{4, 5}},
		{"unknown", []int64{2}, [][]byte{op("Mystery", "x", "y")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reader{values: map[string]value{}}
			if err := r.graph(bytes.Join(append(c.parts, info(graphInput, "x", 1, c.dims...)), nil), 0); err != nil {
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
	m, err := Parse(model(
		info(graphInput, "x", 1, 2), info(graphOutput, "y", 1, 2),
		op("Relu", "x", "a"), op("Neg", "a", "b"), op("Neg", "b", "c"), op("Add", "a c", "y")))
	if err != nil {
		t.Fatal(err)
	}
	if m.ActivationBytes != 24 {
		t.Errorf("peak of %d bytes, want 24", m.ActivationBytes)
	}
	// What is not known counts as much as what it was made from.
	m, err = Parse(model(
		info(graphInput, "x", 1, 100), info(graphOutput, "y", 1, 1),
		op("Mystery", "x", "a"), op("Mystery", "a", "y")))
	if err != nil {
		t.Fatal(err)
	}
	if m.ActivationBytes != 400 {
		t.Errorf("peak of %d bytes, want 400", m.ActivationBytes)
	}
}

func TestRefusals(t *testing.T) {
	x, y := info(graphInput, "x", 1, 2), info(graphOutput, "y", 1, 2)
	external := msg(tensorExternal, text(1, "location"), text(2, "../../etc/shadow"))
	inGraph := msg(nodeAttribute, text(attrName, "body"), msg(attrGraph, msg(graphInitializer, text(tensorName, "w"), external)))
	nested := op("Relu", "x", "y")
	for range maxDepth + 2 {
		nested = op("If", "x", "y", msg(nodeAttribute, msg(attrGraph, nested)))
	}
	whole := generated(t, modelgen.Spec{Family: modelgen.ResNet18, Width: 0.125, Resolution: 32})
	for _, c := range []struct {
		name string
		file []byte
		says string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("this is no model at all"), "no"},
		{"no graph", number(1, 8), "0 graphs"},
		{"two graphs", append(model(x, y), model(x, y)...), "2 graphs"},
		{"truncated", whole[:len(whole)/2], "truncated"},
		{"no outputs", model(x), "no outputs"},
		{"external initializer", model(x, y, msg(graphInitializer, text(tensorName, "w"), external)), `tensor "w": it keeps data in another file`},
		{"external by location only", model(x, y, msg(graphInitializer, number(tensorLocation, 1))), "another file"},
		{"external in an attribute", model(x, y, op("Constant", "", "y", msg(nodeAttribute, msg(attrTensor, external)))), "another file"},
		{"external in a list", model(x, y, op("Constant", "", "y", msg(nodeAttribute, msg(attrTensors, external)))), "another file"},
		{"external in a subgraph", model(x, y, op("If", "x", "y", inGraph)), "another file"},
		{"external in a sparse tensor", model(x, y, msg(graphSparse, msg(sparseValues, external))), "another file"},
		{"external in a function", append(model(x, y), msg(modelFunctions, msg(functionNode, inGraph))...), "another file"},
		{"deep", model(x, y, nested), "nested"},
		{"strings", model(info(graphInput, "x", elemString, 2), y), "strings"},
		{"sequence", model(msg(graphInput, text(infoName, "x"), msg(infoType, msg(4, nil))), y), "only dense tensors"},
		{"complex", model(info(graphInput, "x", 14, 2), y), "element type 14"},
		{"no shape", model(msg(graphInput, text(infoName, "x"), msg(infoType, msg(typeTensor, number(typeElem, 1)))), y), "does not declare its shape"},
		{"twice", model(x, x, y), "twice"},
		{"negative dimension", model(x, y, msg(graphInitializer, number(tensorDims, -4))), "dimension of -4"},
		{"more weights than file", model(x, y, msg(graphInitializer, number(tensorDims, 1<<40), number(tensorDims, 1<<40), number(tensorType, 1))), "claim"},
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
	bare := msg(graphOutput, text(infoName, "y"), msg(infoType, msg(typeTensor, number(typeElem, 1))))
	m, err := Parse(model(info(graphInput, "x", 1, -1, 3), info(graphInput, "b", elemInt64, 3), int64s("b", 1, 2, 3), op("Add", "x b", "y"), bare))
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
	f.Add(model(info(graphInput, "x", 1, -1, 3), info(graphOutput, "y", 1, 2), int64s("b", 0, -1),
		op("Reshape", "x b", "r"), op("MatMul", "r r", "m"), op("Concat", "m r", "c"), op("Flatten", "c", "y"),
		op("MaxPool", "x", "p", attrList("kernel_shape", 2)), op("Conv", "x p", "q")))
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
