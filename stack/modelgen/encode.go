package modelgen

import (
	"bufio"
	"encoding/binary"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of the ONNX protobuf messages that are written here.
const (
	modelIRVersion, modelProducer, modelGraph, modelOpset           = 1, 2, 7, 8
	opsetVersion                                                    = 2
	graphNode, graphName, graphInitializer, graphInput, graphOutput = 1, 2, 5, 11, 12
	nodeInput, nodeOutput, nodeName, nodeOpType, nodeAttribute      = 1, 2, 3, 4, 5
	attrName, attrI, attrT, attrG, attrInts, attrType               = 1, 3, 5, 6, 8, 20
	tensorDims, tensorDataType, tensorName, tensorRawData           = 1, 2, 8, 9
	valueName, valueType                                            = 1, 2
	typeTensor, typeElem, typeShape, shapeDim, dimValue, dimParam   = 1, 1, 2, 1, 1, 2
	irVersion, opset                                                = 8, 13
	elemFloat, elemInt64, elemBool                                  = 1, 7, 9
	attrTypeInt, attrTypeTensor, attrTypeGraph, attrTypeInts        = 2, 4, 5, 7
)

// attribute of a node, encoded.
type attribute []byte

func integer(name string, v int64) attribute {
	a := appendText(nil, attrName, name)
	a = appendInt(a, attrI, v)
	return appendInt(a, attrType, attrTypeInt)
}

func ints(name string, vs ...int64) attribute {
	a := appendText(nil, attrName, name)
	for _, v := range vs {
		a = appendInt(a, attrInts, v)
	}
	return appendInt(a, attrType, attrTypeInts)
}

// floatTensor is an attribute that holds one float, in a tensor of the
// dimensions given: none for a scalar.
func floatTensor(name string, v float32, dims ...int64) attribute {
	var t []byte
	for _, d := range dims {
		t = appendInt(t, tensorDims, d)
	}
	t = appendInt(t, tensorDataType, elemFloat)
	t = appendBytes(t, tensorRawData, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	a := appendText(nil, attrName, name)
	a = appendBytes(a, attrT, t)
	return appendInt(a, attrType, attrTypeTensor)
}

func subgraph(name string, body []byte) attribute {
	a := appendText(nil, attrName, name)
	a = appendBytes(a, attrG, body)
	return appendInt(a, attrType, attrTypeGraph)
}

func encodeNode(op string, inputs, outputs []string, attrs []attribute) []byte {
	var n []byte
	for _, in := range inputs {
		n = appendText(n, nodeInput, in)
	}
	for _, out := range outputs {
		n = appendText(n, nodeOutput, out)
	}
	n = appendText(n, nodeName, outputs[0])
	n = appendText(n, nodeOpType, op)
	for _, a := range attrs {
		n = appendBytes(n, nodeAttribute, a)
	}
	return n
}

// dim is one dimension: a number, or a name for a dynamic one.
type dim struct {
	value int64
	param string
}

func encodeValueInfo(name string, elem int64, dims ...dim) []byte {
	var shape []byte
	for _, d := range dims {
		var b []byte
		if d.param != "" {
			b = appendText(b, dimParam, d.param)
		} else {
			b = appendInt(b, dimValue, d.value)
		}
		shape = appendBytes(shape, shapeDim, b)
	}
	tensor := appendInt(nil, typeElem, elem)
	tensor = appendBytes(tensor, typeShape, shape)
	v := appendText(nil, valueName, name)
	return appendBytes(v, valueType, appendBytes(nil, typeTensor, tensor))
}

// encode writes the model. Lengths come before contents in protobuf, so the size
// of the graph is summed first, and then weights are generated as they go out.
func (g *graph) encode(w *bufio.Writer, seed uint64) error {
	small := g.encodeSmall()
	size := len(small)
	heads := make([][]byte, len(g.weights))
	for i, t := range g.weights {
		heads[i] = t.head()
		size += len(heads[i]) + t.bytes()
	}

	head := appendInt(nil, modelIRVersion, irVersion)
	head = appendText(head, modelProducer, "faas-gpu modelgen")
	head = appendBytes(head, modelOpset, appendInt(nil, opsetVersion, opset))
	head = protowire.AppendTag(head, modelGraph, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(size))

	w.Write(head) // bufio keeps the first error and returns it from then on
	w.Write(small)
	for i, t := range g.weights {
		w.Write(heads[i])
		if err := t.write(w, rand.NewPCG(seed, uint64(i))); err != nil {
			return err
		}
	}
	return nil
}

// encodeSmall is the graph without its weights.
func (g *graph) encodeSmall() []byte {
	b := appendText(nil, graphName, g.name)
	for _, n := range g.nodes {
		b = appendBytes(b, graphNode, n)
	}
	for _, v := range g.inputs {
		b = appendBytes(b, graphInput, v)
	}
	for _, v := range g.outputs {
		b = appendBytes(b, graphOutput, v)
	}
	return b
}

func (t weight) bytes() int {
	n := 4
	for _, d := range t.dims {
		n *= int(d)
	}
	return n
}

// head is the initializer's field in the graph up to where its data begin.
func (t weight) head() []byte {
	var b []byte
	for _, d := range t.dims {
		b = appendInt(b, tensorDims, d)
	}
	b = appendInt(b, tensorDataType, elemFloat)
	b = appendText(b, tensorName, t.name)
	b = protowire.AppendTag(b, tensorRawData, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(t.bytes()))

	head := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(b)+t.bytes()))
	return append(head, b...)
}

// write generates the data. Only one rounding happens to each value, so the
// bytes do not depend on whether a machine fuses multiplications and additions.
func (t weight) write(w *bufio.Writer, src *rand.PCG) error {
	var chunk [8192]byte
	step := float32(t.bound / (1 << 23))
	for left := t.bytes(); left > 0; {
		part := chunk[:min(left, len(chunk))]
		for i := 0; i < len(part); i += 8 {
			r := src.Uint64()
			binary.LittleEndian.PutUint32(chunk[i:], math.Float32bits(float32(int32(r)>>8)*step))
			binary.LittleEndian.PutUint32(chunk[i+4:], math.Float32bits(float32(int32(r>>32)>>8)*step))
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		left -= len(part)
	}
	return nil
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}
