package onnxrt

/*
#include <stdlib.h>
#include "session.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// session is a session of the runtime that tells how large an output is before it
// is copied: the binding copies whatever a model gives, and leaves it allocated if
// that fails.
type session struct {
	*ort.DynamicAdvancedSession
	handle          unsafe.Pointer // to the runtime's session
	inputs, outputs []*C.char      // names
}

func newSession(file []byte, inputs, outputs []string, o *ort.SessionOptions) (*session, error) {
	made, err := ort.NewDynamicAdvancedSessionWithONNXData(file, inputs, outputs, o)
	if err != nil {
		return nil, err
	}
	s := &session{DynamicAdvancedSession: made, inputs: cStrings(inputs), outputs: cStrings(outputs)}
	if s.handle, err = handleOf(made, "s", "ortSession"); err != nil {
		return nil, errors.Join(err, s.Destroy())
	}
	return s, nil
}

func cStrings(names []string) []*C.char {
	out := make([]*C.char, len(names))
	for i, name := range names {
		out[i] = C.CString(name)
	}
	return out
}

// Destroy ends the session.
func (s *session) Destroy() error {
	for _, names := range [][]*C.char{s.inputs, s.outputs} {
		for _, name := range names {
			C.free(unsafe.Pointer(name))
		}
	}
	return s.DynamicAdvancedSession.Destroy()
}

// handleOf is the runtime's pointer that the binding keeps in a field of a struct,
// or of one in that. The binding has no other way to it.
func handleOf(pointer any, fields ...string) (unsafe.Pointer, error) {
	v := reflect.ValueOf(pointer)
	for _, name := range fields {
		if v = v.Elem().FieldByName(name); v.Kind() != reflect.Pointer || v.IsNil() {
			return nil, fmt.Errorf("the Go binding of ONNX Runtime has no pointer %s in a %T: another version of it is needed", name, pointer)
		}
	}
	return v.UnsafePointer(), nil
}

// runAllocating is RunWithOptions, except that what the runtime allocates, where
// out has nil, is returned as it is. It has to be released.
func (s *session) runAllocating(in, out []ort.Value, o *ort.RunOptions) ([]unsafe.Pointer, error) {
	options, err := handleOf(o, "o")
	if err != nil {
		return nil, err
	}
	inputs, err := handles(in)
	if err != nil {
		return nil, err
	}
	outputs, err := handles(out)
	if err != nil {
		return nil, err
	}
	err = textError(C.onnxrt_run(s.handle, options,
		unsafe.SliceData(s.inputs), unsafe.SliceData(inputs), C.size_t(len(inputs)),
		unsafe.SliceData(s.outputs), unsafe.SliceData(outputs), C.size_t(len(outputs))))
	if err != nil {
		return nil, err
	}
	for i, v := range out {
		if v != nil {
			outputs[i] = nil // not made by this run
		}
	}
	return outputs, nil
}

func handles(values []ort.Value) ([]unsafe.Pointer, error) {
	out := make([]unsafe.Pointer, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		var err error
		if out[i], err = handleOf(v.GetInternals(), "ortValue"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// textError makes an error of a text in C's memory, nil of none.
func textError(text *C.char) error {
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return errors.New(C.GoString(text))
}

// made is an output that the runtime has allocated.
type made struct {
	datatype ort.TensorElementDataType
	shape    []int64
	elements int64
	data     unsafe.Pointer
}

func readMade(value unsafe.Pointer) (made, error) {
	var o C.onnxrt_output
	if err := textError(C.onnxrt_read(value, &o)); err != nil {
		return made{}, err
	}
	m := made{datatype: ort.TensorElementDataType(o._type), elements: int64(o.elements), data: unsafe.Pointer(o.data)}
	m.shape = make([]int64, o.rank)
	for i := range m.shape {
		m.shape[i] = int64(o.dims[i])
	}
	return m, nil
}

// bytes copies the elements, of size bytes each, into Go's memory.
func (m *made) bytes(size int) []byte {
	out := make([]byte, m.elements*int64(size))
	if len(out) > 0 {
		copy(out, unsafe.Slice((*byte)(m.data), len(out)))
	}
	return out
}

func releaseMade(value unsafe.Pointer) { C.onnxrt_release(value) }
