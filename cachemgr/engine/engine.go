package engine

import (
	"context"
	"errors"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// DeviceID names a device within its node: a GPU's UUID, or "cpu".
type DeviceID string

// Device is one place where instances live, as the driver describes it now.
type Device struct {
	ID   DeviceID
	Name string // for people: "NVIDIA H200", "CPU (2 threads)"
	Kind string // "cuda" or "cpu": what a model must have been built for

	TotalBytes int64 // physical memory
	FreeBytes  int64 // what the driver would still give, to anyone, and KeptBytes
	KeptBytes  int64 // what the engine holds beyond Overhead and no model does, for the next one
	// Overhead is what the engine itself takes of the device for all models
	// together; it grows with the largest activations seen.
	Overhead int64
	// Unified is true where host and device share memory: a second copy of the
	// weights would then be waste, not a cache.
	Unified bool
}

// Model is a file to be opened. The file does not change while a Staged made
// from it is open.
type Model struct {
	Name   string // for messages only
	Path   string
	Format Format
}

// Format of a model file.
type Format string

const (
	FormatONNX Format = "onnx" // an ONNX graph
	FormatPlan Format = "plan" // a serialized TensorRT engine: native code
)

// Engine opens models. Its methods may be called at the same time.
type Engine interface {
	// Name is what the response header X-Faas-Gpu-Engine says: "onnxruntime",
	// "tensorrt".
	Name() string

	// Devices lists the devices the engine can load onto. It is cheap enough to
	// be called before every load. ErrUnavailable: a library or driver is
	// missing; the error says which.
	Devices(ctx context.Context) ([]Device, error)

	// Open reads m into the host pool. ErrBadModel: the file is not a model that
	// this engine can run; ErrNoMemory: host memory is short.
	Open(ctx context.Context, m Model) (Staged, error)

	// Close gives back everything. No Staged may be open.
	Close() error
}

// Pinner is an Engine whose devices copy straight from and to host memory that was
// pinned for them. Other memory may be given to Run as well; it costs a copy.
//
// Either may be memory that another process changes during the Run: an input is
// read once, straight to the device, and an output is written and never read.
type Pinner interface {
	// Pin makes b such memory until unpin is called. b is not memory of the Go
	// heap: it is mapped, and stays so until unpin has returned, which is called
	// only when no Run uses it. ErrNoMemory: the system does not pin that much.
	Pin(b []byte) (unpin func(), err error)
}

// Lender is an Engine that keeps device memory for reuse and gives it back to the
// driver when others need it.
type Lender interface {
	// Lend leaves bytes of a device, which no model holds, to others until end is
	// called.
	Lend(d DeviceID, bytes int64) (end func(), err error)
}

// Limiter is an Engine that holds itself to a budget: memory that it keeps for reuse,
// and what it needs to keep memory of the right sizes, are part of it.
type Limiter interface {
	// Limit sets the most that the engine takes of a device, in bytes, for everything.
	// It may change what Devices says of that device.
	Limit(d DeviceID, bytes int64) error
}

// Staged is a model in host memory. Its methods may be called at the same time,
// except Close, which may be called only when no Instance of it is open.
type Staged interface {
	// Spec describes inputs and outputs.
	Spec() Spec

	// Cost states what the model takes on a device.
	Cost(DeviceID) Cost

	// Load makes the model ready to run on a device and returns when it is. At
	// most one Instance of a Staged is open on a device at a time. A Load that
	// fails leaves nothing behind. ErrNoMemory: the device has too little;
	// ErrBadModel: the file opens but cannot be loaded; ErrDeviceLost.
	Load(ctx context.Context, d DeviceID) (Instance, error)

	// Close gives back the host memory and all residues.
	Close() error
}

// Instance is a model resident on a device.
type Instance interface {
	// Run computes the outputs asked for (a subset of Spec.Outputs, in any order)
	// from all inputs. The caller owns every buffer and keeps it unchanged (in)
	// or untouched (out) until Run returns. Where out[i].Data is nil the engine
	// allocates it and sets Data and Shape; otherwise Data has exactly the bytes
	// of Shape, and an output of another shape is ErrBadInput.
	//
	// At most Spec.Concurrency Runs at a time. A cancelled ctx ends the run with
	// its error as soon as the engine can stop; the buffers are free then too.
	// ErrBadInput: tensors that do not fit the Spec, or that the model itself
	// refuses; ErrNoMemory: the model asked for more than there is;
	// ErrDeviceLost.
	Run(ctx context.Context, in, out []tensor.Tensor) error

	// Close evicts: it returns once Cost.Resident bytes are free on the device.
	// No Run may be going on.
	Close() error
}

// Spec describes what a model takes and gives.
type Spec struct {
	// Known is false for a file that must be loaded once to be read (a TensorRT
	// plan); everything else is then zero until the first Load has returned.
	Known   bool
	Inputs  []tensor.Spec
	Outputs []tensor.Spec
	// MaxBatch is the largest first dimension, 0 where the model has no batch
	// dimension, -1 where it is not bounded.
	MaxBatch int
	// Concurrency is how many Runs one Instance allows at once, at least 1.
	Concurrency int
}

// Cost is what a model takes, in bytes. Peak >= Resident; an eviction gives
// Resident - Residual back.
type Cost struct {
	Peak     int64 // on the device, at most, while Load runs
	Resident int64 // on the device, from Load's return to Instance.Close
	Residual int64 // on the device, from Instance.Close to Staged.Close
	Host     int64 // in host memory, from Open to Staged.Close
	// Estimated is true while the numbers are a guess from the file; an engine
	// that can measure clears it at the first Load.
	Estimated bool
}

// Errors of the contract; implementations wrap them with what happened.
var (
	ErrNoMemory    = errors.New("not enough memory")
	ErrDeviceLost  = errors.New("device lost")
	ErrBadModel    = errors.New("bad model")
	ErrBadInput    = errors.New("bad input")
	ErrUnavailable = errors.New("engine unavailable")
)
