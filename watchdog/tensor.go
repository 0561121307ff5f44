//go:build amd64 || arm64 || riscv64 || loong64

package watchdog

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// The build constraint above names little-endian machines: on those the memory
// of a slice is the wire's form of a tensor, and nothing needs to be converted.

// Tensor is a named array in row-major order. Types that Go does not have, such
// as 16-bit floats, are made by filling it in by hand.
type Tensor = tensor.Tensor

// Element is a type that tensors and slices have in common.
type Element interface {
	bool | uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64 | float32 | float64
}

// NewTensor makes a tensor of data, which is not copied: it must not change
// until Infer has returned. Infer checks that the shape has as many elements.
func NewTensor[T Element](name string, shape []int64, data []T) Tensor {
	return Tensor{Name: name, Datatype: datatypeOf[T](), Shape: shape, Data: bytesOf(data)}
}

// Outputs are what a model answered.
type Outputs struct{ response *oip.Response }

// Version is that of the model that answered.
func (o Outputs) Version() string {
	if o.response == nil {
		return ""
	}
	return o.response.Version
}

// Tensor finds an output. Its data is shared with o.
func (o Outputs) Tensor(name string) (Tensor, bool) {
	if o.response == nil {
		return Tensor{}, false
	}
	t := o.response.Output(name)
	if t == nil {
		return Tensor{}, false
	}
	return *t, true
}

// Names lists the outputs, in the model's order.
func (o Outputs) Names() []string {
	if o.response == nil {
		return nil
	}
	names := make([]string, len(o.response.Outputs))
	for i, t := range o.response.Outputs {
		names[i] = t.Name
	}
	return names
}

// Release gives the memory of the outputs back for the next request. It need not
// be called; it spares the garbage collector work where outputs are large. After
// it neither the outputs nor slices of Data may be used.
func (o Outputs) Release() {
	if o.response != nil {
		o.response.Release()
	}
}

// Data is the content of an output, in row-major order. It is shared with the
// outputs. An error names the outputs that there are, or the type that it has.
func Data[T Element](o Outputs, name string) ([]T, error) {
	t, ok := o.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("the model has no output %q; it has %q", name, o.Names())
	}
	if want := datatypeOf[T](); t.Datatype != want {
		return nil, fmt.Errorf("output %q is %s, not %s", name, t.Datatype, want)
	}
	return sliceOf[T](t.Data)
}

func datatypeOf[T Element]() tensor.Datatype {
	var zero T
	switch any(zero).(type) {
	case bool:
		return tensor.Bool
	case uint8:
		return tensor.Uint8
	case uint16:
		return tensor.Uint16
	case uint32:
		return tensor.Uint32
	case uint64:
		return tensor.Uint64
	case int8:
		return tensor.Int8
	case int16:
		return tensor.Int16
	case int32:
		return tensor.Int32
	case int64:
		return tensor.Int64
	case float32:
		return tensor.FP32
	}
	return tensor.FP64
}

// bytesOf is the memory of a slice.
func bytesOf[T Element](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*sizeOf[T]())
}

// sliceOf is the reverse of bytesOf. Bytes that do not lie where a T may lie are
// copied. A bool must be 0 or 1: any other byte would not be a bool to Go.
func sliceOf[T Element](b []byte) ([]T, error) {
	size := sizeOf[T]()
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of elements of %d bytes", len(b), size)
	}
	if len(b) == 0 {
		return nil, nil
	}
	if datatypeOf[T]() == tensor.Bool && slices.ContainsFunc(b, func(v byte) bool { return v > 1 }) {
		return nil, fmt.Errorf("a BOOL is neither 0 nor 1")
	}
	if uintptr(unsafe.Pointer(&b[0]))%uintptr(size) != 0 {
		aligned := make([]T, len(b)/size)
		copy(bytesOf(aligned), b)
		return aligned, nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/size), nil
}

func sizeOf[T Element]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}
