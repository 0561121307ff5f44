package onnxrt

import (
	"encoding/binary"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// newScalar makes a value without dimensions. It holds a copy of data.
func newScalar(d tensor.Datatype, data []byte) (ort.Value, error) {
	switch d {
	case tensor.Bool:
		return scalarOf[bool](data)
	case tensor.Uint8:
		return scalarOf[uint8](data)
	case tensor.Uint16:
		return scalarOf[uint16](data)
	case tensor.Uint32:
		return scalarOf[uint32](data)
	case tensor.Uint64:
		return scalarOf[uint64](data)
	case tensor.Int8:
		return scalarOf[int8](data)
	case tensor.Int16:
		return scalarOf[int16](data)
	case tensor.Int32:
		return scalarOf[int32](data)
	case tensor.Int64:
		return scalarOf[int64](data)
	case tensor.FP64:
		return scalarOf[float64](data)
	}
	return scalarOf[float32](data)
}

func scalarOf[T ort.TensorData](data []byte) (ort.Value, error) {
	var v T
	if _, err := binary.Decode(data, binary.LittleEndian, &v); err != nil {
		return nil, err
	}
	s, err := ort.NewScalar(v)
	if err != nil {
		return nil, err // not s: a nil pointer in an interface is not nil
	}
	return s, nil
}

// readScalar copies what the runtime has computed into data.
func readScalar(v ort.Value, data []byte) {
	switch s := v.(type) {
	case *ort.Scalar[bool]:
		putScalar(data, s.GetData())
	case *ort.Scalar[uint8]:
		putScalar(data, s.GetData())
	case *ort.Scalar[uint16]:
		putScalar(data, s.GetData())
	case *ort.Scalar[uint32]:
		putScalar(data, s.GetData())
	case *ort.Scalar[uint64]:
		putScalar(data, s.GetData())
	case *ort.Scalar[int8]:
		putScalar(data, s.GetData())
	case *ort.Scalar[int16]:
		putScalar(data, s.GetData())
	case *ort.Scalar[int32]:
		putScalar(data, s.GetData())
	case *ort.Scalar[int64]:
		putScalar(data, s.GetData())
	case *ort.Scalar[float32]:
		putScalar(data, s.GetData())
	case *ort.Scalar[float64]:
		putScalar(data, s.GetData())
	}
}

func putScalar[T ort.TensorData](data []byte, v T) {
	*(*T)(unsafe.Pointer(unsafe.SliceData(data))) = v
}
