package native

// #cgo LDFLAGS: -ldl
// #include "trampolines.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

type (
	cTensor = C.gpushim_tensor
	cError  = C.gpushim_error
	cModel  = *C.gpushim_model
)

// sentinels are the errors of the contract by the table's codes.
var sentinels = map[C.int]error{
	C.GPUSHIM_NO_MEMORY:   engine.ErrNoMemory,
	C.GPUSHIM_DEVICE_LOST: engine.ErrDeviceLost,
	C.GPUSHIM_BAD_MODEL:   engine.ErrBadModel,
	C.GPUSHIM_BAD_INPUT:   engine.ErrBadInput,
	C.GPUSHIM_UNAVAILABLE: engine.ErrUnavailable,
}

// datatypes are the contract's names of the table's types.
var datatypes = map[C.int32_t]tensor.Datatype{
	C.GPUSHIM_BOOL:  tensor.Bool,
	C.GPUSHIM_UINT8: tensor.Uint8,
	C.GPUSHIM_INT8:  tensor.Int8,
	C.GPUSHIM_INT32: tensor.Int32,
	C.GPUSHIM_INT64: tensor.Int64,
	C.GPUSHIM_FP16:  tensor.FP16,
	C.GPUSHIM_BF16:  tensor.BF16,
	C.GPUSHIM_FP32:  tensor.FP32,
}

// failure makes a Go error of a code and its message.
func failure(code C.int, e *cError) error {
	if code == C.GPUSHIM_OK {
		return nil
	}
	text := errors.New(C.GoString(&e.message[0]))
	if sentinel := sentinels[code]; sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, text)
	}
	return text
}

// shim is an engine of the library. The library stays loaded once it was.
type shim struct {
	table  *C.gpushim_table
	handle *C.gpushim_engine
}

// openShim loads the library and opens an engine in it.
func openShim(o Options) (*shim, error) {
	var e cError
	path := C.CString(o.Library)
	defer C.free(unsafe.Pointer(path))
	table := C.shim_load(path, &e)
	if table == nil {
		return nil, fmt.Errorf("%w: %q cannot be loaded: %s", engine.ErrUnavailable, o.Library, C.GoString(&e.message[0]))
	}
	settings := C.CString(o.Settings)
	defer C.free(unsafe.Pointer(settings))
	config := C.gpushim_config{
		device_bytes: C.uint64_t(o.DeviceBytes),
		host_bytes:   C.uint64_t(o.HostBytes),
		slots:        C.uint32_t(o.Slots),
		transfers:    C.uint32_t(o.Transfers),
		settings:     settings,
	}
	if o.NoRemap {
		config.no_remap = 1
	}
	s := &shim{table: table}
	if err := failure(C.shim_open_engine(table, &config, &s.handle, &e), &e); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *shim) close() { C.shim_close_engine(s.table, s.handle) }

// describes what the library was built for, e.g. "TensorRT 8.5".
func (s *shim) describes() string { return C.GoString(s.table.describes) }

func (s *shim) devices() ([]engine.Device, error) {
	list := make([]engine.Device, C.shim_device_count(s.table, s.handle))
	for i := range list {
		var d C.gpushim_device
		var e cError
		if err := failure(C.shim_device(s.table, s.handle, C.uint32_t(i), &d, &e), &e); err != nil {
			return nil, err
		}
		list[i] = engine.Device{
			ID:         engine.DeviceID(C.GoString(&d.id[0])),
			Name:       C.GoString(&d.name[0]),
			Kind:       "cuda",
			TotalBytes: int64(d.total_bytes),
			FreeBytes:  int64(d.free_bytes),
			KeptBytes:  int64(d.kept_bytes),
			Overhead:   int64(d.overhead_bytes),
			Unified:    d.unified != 0,
		}
	}
	return list, nil
}

func (s *shim) openModel(path string) (cModel, error) {
	var e cError
	var m cModel
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	return m, failure(C.shim_open_model(s.table, s.handle, p, &m, &e), &e)
}

func (s *shim) closeModel(m cModel) error {
	var e cError
	return failure(C.shim_close_model(s.table, m, &e), &e)
}

// spec is known once the model was loaded.
func (s *shim) spec(m cModel) (engine.Spec, error) {
	var e cError
	var c C.gpushim_spec
	if err := failure(C.shim_spec(s.table, m, &c, &e), &e); err != nil {
		return engine.Spec{}, err
	}
	spec := engine.Spec{Known: true, MaxBatch: int(c.max_batch), Concurrency: 1}
	for i := range c.inputs + c.outputs {
		var t C.gpushim_tensor_spec
		if err := failure(C.shim_tensor(s.table, m, i, &t, &e), &e); err != nil {
			return engine.Spec{}, err
		}
		ts := tensor.Spec{Name: C.GoString(&t.name[0]), Datatype: datatypes[t._type], Shape: make([]int64, t.rank)}
		for d := range ts.Shape {
			ts.Shape[d] = int64(t.shape[d])
		}
		if i < c.inputs {
			spec.Inputs = append(spec.Inputs, ts)
		} else {
			spec.Outputs = append(spec.Outputs, ts)
		}
	}
	return spec, nil
}

func (s *shim) cost(m cModel, device int) engine.Cost {
	var c C.gpushim_cost
	C.shim_cost(s.table, m, C.uint32_t(device), &c)
	return engine.Cost{
		Peak:      int64(c.peak),
		Resident:  int64(c.resident),
		Residual:  int64(c.residual),
		Host:      int64(c.host),
		Estimated: c.measured == 0,
	}
}

func (s *shim) load(m cModel, device int) error {
	var e cError
	return failure(C.shim_model_load(s.table, m, C.uint32_t(device), &e), &e)
}

func (s *shim) evict(m cModel, device int) error {
	var e cError
	return failure(C.shim_evict(s.table, m, C.uint32_t(device), &e), &e)
}

// shapes fills in what outputs become for inputs of these shapes.
func (s *shim) shapes(m cModel, device int, in, out []cTensor, e *cError) error {
	return failure(C.shim_shapes(s.table, m, C.uint32_t(device), unsafe.SliceData(in), unsafe.SliceData(out), e), e)
}

// run wants all data that the tensors point to pinned.
func (s *shim) run(m cModel, device int, slot uint32, in, out []cTensor, e *cError) error {
	return failure(C.shim_run(s.table, m, C.uint32_t(device), C.uint32_t(slot), unsafe.SliceData(in), unsafe.SliceData(out), e), e)
}

func (s *shim) pin(begin unsafe.Pointer, bytes int) error {
	var e cError
	return failure(C.shim_pin(s.table, s.handle, begin, C.uint64_t(bytes), &e), &e)
}

func (s *shim) unpin(begin unsafe.Pointer) error {
	var e cError
	return failure(C.shim_unpin(s.table, s.handle, begin, &e), &e)
}

// lend leaves bytes of a device to others; -bytes ends it.
func (s *shim) lend(device int, bytes int64) error {
	var e cError
	return failure(C.shim_lend(s.table, s.handle, C.uint32_t(device), C.int64_t(bytes), &e), &e)
}

// limit is the most that the engine takes of a device.
func (s *shim) limit(device int, bytes int64) error {
	var e cError
	return failure(C.shim_limit(s.table, s.handle, C.uint32_t(device), C.uint64_t(bytes), &e), &e)
}

// describe writes a tensor's shape and memory for the table.
func describe(c *cTensor, shape []int64, data []byte) {
	c.rank = C.uint32_t(len(shape))
	for i, d := range shape {
		c.shape[i] = C.int64_t(d)
	}
	c.data = unsafe.Pointer(unsafe.SliceData(data))
	c.bytes = C.uint64_t(len(data))
}

// shapeOf is the shape that shapes wrote.
func shapeOf(c *cTensor) []int64 {
	shape := make([]int64, c.rank)
	for i := range shape {
		shape[i] = int64(c.shape[i])
	}
	return shape
}
