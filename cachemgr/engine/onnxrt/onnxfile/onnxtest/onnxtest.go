// Package onnxtest puts together ONNX files, well-formed or not, that no exporter
// would write. It is for tests.
package onnxtest

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Message is a field that holds a message of these fields.
func Message(num protowire.Number, fields ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(fields, nil))
}

// Text is a field that holds a string.
func Text(num protowire.Number, s string) []byte { return Message(num, []byte(s)) }

// Number is a field that holds an integer.
func Number(num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
}

// Model is a file with one graph of these fields.
func Model(graph ...[]byte) []byte {
	return bytes.Join([][]byte{Number(1, 8), Message(8, Number(2, 13)), Message(7, graph...)}, nil)
}

// Where a ValueInfo stands in a graph.
const (
	Input  = 11
	Output = 12
)

// Info declares an input or output; a dimension is a number, or a name if it is
// dynamic.
func Info(where protowire.Number, name string, elem int64, dims ...any) []byte {
	var shape []byte
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			shape = append(shape, Message(1, Number(1, int64(d)))...)
		case string:
			shape = append(shape, Message(1, Text(2, d))...)
		}
	}
	return Message(where, Text(1, name), Message(2, Message(1, Number(1, elem), Message(2, shape))))
}

// Op is a node; inputs and outputs are separated by spaces.
func Op(name string, inputs, outputs string, attrs ...[]byte) []byte {
	var fields [][]byte
	for _, in := range strings.Fields(inputs) {
		fields = append(fields, Text(1, in))
	}
	for _, out := range strings.Fields(outputs) {
		fields = append(fields, Text(2, out))
	}
	return Message(1, append(append(fields, Text(4, name)), attrs...)...)
}

// Int is an attribute of a node.
func Int(name string, v int64) []byte {
	const typeInt = 2
	return Message(5, Text(1, name), Number(3, v), Number(20, typeInt))
}

// Ints is an attribute of a node.
func Ints(name string, vs ...int64) []byte {
	const typeInts = 7
	fields := [][]byte{Text(1, name), Number(20, typeInts)}
	for _, v := range vs {
		fields = append(fields, Number(8, v))
	}
	return Message(5, fields...)
}

// Int64s is an initializer.
func Int64s(name string, vs ...int64) []byte {
	const elemInt64 = 7
	fields := [][]byte{Number(1, int64(len(vs))), Number(2, elemInt64), Text(8, name)}
	for _, v := range vs {
		fields = append(fields, Number(7, v))
	}
	return Message(5, fields...)
}
