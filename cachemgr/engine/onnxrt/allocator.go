package onnxrt

/*
#cgo CFLAGS: -fexceptions
#include <stdlib.h>
#include "allocator.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// limitAllocations makes all sessions of the process together get at most limit
// bytes. The library must be loaded.
func limitAllocations(library string, limit int64) error {
	path := C.CString(library)
	defer C.free(unsafe.Pointer(path))
	if text := C.onnxrt_limit(path, C.int64_t(limit)); text != nil {
		return fmt.Errorf("limit the memory of ONNX Runtime: %w", errors.New(C.GoString(text)))
	}
	return nil
}

// unlimitAllocations undoes limitAllocations before the library is closed.
func unlimitAllocations() { C.onnxrt_unlimit() }

// allocated is what all sessions hold now, in bytes.
func allocated() int64 { return int64(C.onnxrt_held()) }
