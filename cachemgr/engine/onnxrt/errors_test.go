package onnxrt

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// The texts are those of ONNX Runtime 1.31 for what the names say.
func TestClassify(t *testing.T) {
	for text, want := range map[string]error{
		"Non-zero status code returned while running ConstantOfShape node. Status Message: std::bad_alloc":                                               engine.ErrNoMemory,
		"bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t) Failed to allocate memory for requested buffer of size 4398046511104": engine.ErrNoMemory,
		"Calculation for Tensor storage size overflowed":                                                                                                 engine.ErrNoMemory,
		"tensor.cc:57 CalculateTensorStorageSize Tensor shape.Size() must be >= 0":                                                                       engine.ErrBadInput,
		"OrtValue shape verification failed. Current shape:{1,4} Requested shape:{2,4}":                                                                  engine.ErrBadInput,
	} {
		cause := errors.New(text)
		if err := classify(cause, engine.ErrBadInput); !errors.Is(err, want) || !errors.Is(err, cause) {
			t.Errorf("%q is %v, want %v", text, err, want)
		}
	}
}
