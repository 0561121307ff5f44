// Package tensor is the leaf type that everything here passes around: a named,
// typed, dense array of bytes. It imports the standard library only.
package tensor

import (
	"fmt"
	"math"
)

// Tensor is a named array in row-major order, little-endian.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64
	Data     []byte
}

// Spec is the type of one input or output of a model; a dynamic dimension is -1.
type Spec struct {
	Name     string
	Datatype Datatype
	Shape    []int64
}

// Datatype of a tensor's elements, named as in the Open Inference Protocol.
type Datatype string

const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
	BF16   Datatype = "BF16"
	Bytes  Datatype = "BYTES" // strings: variable size
)

// Size of one element in bytes; 0 for BYTES and for what is no datatype.
func (d Datatype) Size() int {
	switch d {
	case Bool, Uint8, Int8:
		return 1
	case Uint16, Int16, FP16, BF16:
		return 2
	case Uint32, Int32, FP32:
		return 4
	case Uint64, Int64, FP64:
		return 8
	}
	return 0
}

// ByteSize is the number of bytes that a dense tensor of this datatype and
// shape has. It fails for BYTES, for negative dimensions and on overflow.
func ByteSize(d Datatype, shape []int64) (int64, error) {
	n := int64(d.Size())
	if n == 0 {
		return 0, fmt.Errorf("datatype %q has no fixed size", d)
	}
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt64/dim {
			return 0, fmt.Errorf("shape %v of %s overflows", shape, d)
		}
		n *= dim
	}
	return n, nil
}

// Fits reports whether a tensor's shape is one that the spec allows.
func (s Spec) Fits(shape []int64) bool {
	if len(shape) != len(s.Shape) {
		return false
	}
	for i, want := range s.Shape {
		if shape[i] < 0 || want >= 0 && shape[i] != want {
			return false
		}
	}
	return true
}
