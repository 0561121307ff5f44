package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Options of an Engine.
type Options struct {
	// Library is the path of libgpushim.so.
	Library string
	// DeviceBytes is the most that the engine takes on each device for weights,
	// activations, buffers, and what the driver takes for them, until Limit says
	// otherwise; 0 means what the device has.
	DeviceBytes int64
	// HostBytes is the most pinned host memory that evicted models may take
	// together, beside the buffers of requests; 0 means no limit.
	HostBytes int64
	// Slots is how many Runs there are at once on a device; each takes memory for
	// the largest activations. 0 means 2: one computes while the outputs of
	// another are copied.
	Slots int
	// Transfers is how many models' weights are on their way to a device at once,
	// one after the other; more wait. 0 means 2: the wire is never idle then.
	Transfers int
	// NoRemap makes a Load deserialize each time, as on devices that cannot map
	// memory.
	NoRemap bool
	// Settings are "key=value;key=value" for the library: nvinfer=PATH names
	// TensorRT's own library.
	Settings string
	// Log may be nil.
	Log *slog.Logger
}

const defaultSlots = 2

// Engine runs TensorRT plans.
type Engine struct {
	shim    *shim
	devices []*device
	pins    *pins
	log     *slog.Logger
	open    atomic.Int64 // Stageds
}

// device is what Runs on one device share.
type device struct {
	index int
	id    engine.DeviceID
	slots *slots
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Lender  = (*Engine)(nil)
	_ engine.Limiter = (*Engine)(nil)
)

// New loads the library and makes a context on each device. ErrUnavailable: the
// library, the CUDA driver, a device or TensorRT is missing; the error says which.
func New(o Options) (*Engine, error) {
	if o.DeviceBytes < 0 || o.HostBytes < 0 || o.Slots < 0 || o.Transfers < 0 {
		return nil, fmt.Errorf("%d device bytes, %d host bytes, %d slots, %d transfers: none may be negative", o.DeviceBytes, o.HostBytes, o.Slots, o.Transfers)
	}
	if o.Slots == 0 {
		o.Slots = defaultSlots
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := openShim(o)
	if err != nil {
		return nil, err
	}
	found, err := s.devices()
	if err != nil {
		s.close()
		return nil, err
	}
	e := &Engine{shim: s, log: o.Log, pins: &pins{shim: s, log: o.Log, begins: make(map[unsafe.Pointer]struct{})}}
	for i, d := range found {
		e.devices = append(e.devices, &device{index: i, id: d.ID, slots: newSlots(o.Slots)})
		o.Log.Info("tensorrt device", "engine", s.describes(), "device", d.ID, "name", d.Name, "bytes", d.TotalBytes)
	}
	return e, nil
}

// Name is "tensorrt".
func (e *Engine) Name() string { return "tensorrt" }

// Devices are the GPUs that the CUDA driver shows to this process.
func (e *Engine) Devices(context.Context) ([]engine.Device, error) { return e.shim.devices() }

// Open notes the file. It is read at the first Load, and its weights go to the
// host pool then: until they are known, the file is all that can be told.
func (e *Engine) Open(ctx context.Context, m engine.Model) (engine.Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %s: %w", m.Name, err)
	}
	if m.Format != engine.FormatPlan {
		return nil, fmt.Errorf("%w: %s has the format %q, and TensorRT runs %q only", engine.ErrBadModel, m.Name, m.Format, engine.FormatPlan)
	}
	handle, err := e.shim.openModel(m.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.Name, err)
	}
	e.open.Add(1)
	return &staged{engine: e, name: m.Name, handle: handle}, nil
}

// Lend gives unused device memory back to the driver, and keeps the engine from
// taking these bytes again.
func (e *Engine) Lend(id engine.DeviceID, bytes int64) (end func(), err error) {
	d, err := e.device(id)
	if err == nil {
		err = e.shim.lend(d.index, bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("lend %d bytes of %s: %w", bytes, id, err)
	}
	return sync.OnceFunc(func() {
		if err := e.shim.lend(d.index, -bytes); err != nil && !errors.Is(err, engine.ErrDeviceLost) {
			e.log.Warn("lent device memory does not come back", "device", id, "bytes", bytes, "error", err)
		}
	}), nil
}

// Limit changes Options.DeviceBytes for one device.
func (e *Engine) Limit(id engine.DeviceID, bytes int64) error {
	d, err := e.device(id)
	if err == nil && bytes <= 0 {
		err = errors.New("must be positive")
	}
	if err == nil {
		err = e.shim.limit(d.index, bytes)
	}
	if err != nil {
		return fmt.Errorf("limit of %d bytes on %s: %w", bytes, id, err)
	}
	return nil
}

func (e *Engine) device(id engine.DeviceID) (*device, error) {
	i := slices.IndexFunc(e.devices, func(d *device) bool { return d.id == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: there is no device %q", engine.ErrUnavailable, id)
	}
	return e.devices[i], nil
}

var errModelsOpen = errors.New("models are open")

// Close gives the devices' memory back.
func (e *Engine) Close() error {
	if n := e.open.Load(); n > 0 {
		return fmt.Errorf("close tensorrt: %d %w", n, errModelsOpen)
	}
	if e.shim != nil {
		e.pins.close()
		e.shim.close()
		e.shim = nil
	}
	return nil
}
