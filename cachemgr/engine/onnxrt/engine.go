package onnxrt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// CPU is the ID of the one device.
const CPU engine.DeviceID = "cpu"

// Options of an Engine.
type Options struct {
	// Library is the path of libonnxruntime.so.
	Library string
	// Threads compute one Run together; 0 means all processors that the process
	// may use. Each resident model keeps Threads-1 threads, which sleep between
	// runs.
	Threads int
	// MaxOutputBytes is what the outputs that one Run allocates may take
	// together; 0 means 256 MiB.
	MaxOutputBytes int64
	// MemoryLimit is what all models together may allocate while they run, in
	// bytes, in all Engines of the process; 0 means half of the host's memory. A
	// run that asks for more ends with ErrNoMemory. (Weights are not counted:
	// their files bound them.)
	MemoryLimit int64
	// Log may be nil.
	Log *slog.Logger
}

const defaultMaxOutputBytes = 256 << 20

// Engine runs ONNX models on the CPU.
type Engine struct {
	threads     int
	concurrency int
	maxOutput   int64
	session     *ort.SessionOptions
	trim        *trimmer
	open        atomic.Int64 // models that are
}

var _ engine.Engine = (*Engine)(nil)

// New loads the library. ErrUnavailable: it is not there or not usable.
func New(o Options) (*Engine, error) {
	processors := runtime.GOMAXPROCS(0)
	o, err := o.withDefaults(processors)
	if err != nil {
		return nil, err
	}
	if err := acquireLibrary(o.Library, o.MemoryLimit); err != nil {
		return nil, err
	}
	options, err := sessionOptions(o.Threads)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", engine.ErrUnavailable, err), releaseLibrary())
	}
	o.Log.Info("onnxruntime loaded", "version", ort.GetVersion(), "library", o.Library, "threads", o.Threads)
	return &Engine{
		threads:     o.Threads,
		concurrency: max(1, processors/o.Threads),
		maxOutput:   o.MaxOutputBytes,
		session:     options,
		trim:        newTrimmer(),
	}, nil
}

func (o Options) withDefaults(processors int) (Options, error) {
	if o.Threads < 0 || o.MaxOutputBytes < 0 || o.MemoryLimit < 0 {
		return o, fmt.Errorf("%d threads, %d output bytes, a memory limit of %d: none may be negative", o.Threads, o.MaxOutputBytes, o.MemoryLimit)
	}
	if o.Threads == 0 {
		o.Threads = processors
	}
	if o.MaxOutputBytes == 0 {
		o.MaxOutputBytes = defaultMaxOutputBytes
	}
	if o.MemoryLimit == 0 {
		total, _, err := hostMemory(os.DirFS("/"))
		if err != nil {
			return o, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
		}
		o.MemoryLimit = total / 2
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// sessionOptions are those of all sessions. They change how fast a model is and
// what it keeps, never what it answers.
func sessionOptions(threads int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(threads),
		o.SetInterOpNumThreads(1),
		o.SetCpuMemArena(false),
		// What a run allocates comes from the allocator with the limit.
		o.AddSessionConfigEntry("session.use_env_allocators", "1"),
		// A thread that spins for work takes a processor from another model.
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	if err != nil {
		o.Destroy()
		return nil, err
	}
	return o, nil
}

// Name is "onnxruntime".
func (e *Engine) Name() string { return "onnxruntime" }

// Devices is the host: its memory, or the limit of the control group that the
// process is in.
func (e *Engine) Devices(context.Context) ([]engine.Device, error) {
	total, free, err := hostMemory(os.DirFS("/"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	return []engine.Device{{
		ID:         CPU,
		Name:       e.deviceName(),
		Kind:       "cpu",
		TotalBytes: total,
		FreeBytes:  free,
		Unified:    true,
	}}, nil
}

func (e *Engine) deviceName() string {
	if e.threads == 1 {
		return "CPU (1 thread)"
	}
	return fmt.Sprintf("CPU (%d threads)", e.threads)
}

// Open reads the file whole.
func (e *Engine) Open(ctx context.Context, m engine.Model) (engine.Staged, error) {
	if m.Format != engine.FormatONNX {
		return nil, fmt.Errorf("%w: it has the format %q, and ONNX Runtime reads %q only", engine.ErrBadModel, m.Format, engine.FormatONNX)
	}
	file, err := readFile(ctx, m.Path)
	if err != nil {
		return nil, err
	}
	model, err := onnxfile.Parse(file)
	if err == nil {
		err = runnable(model)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", engine.ErrBadModel, err), unmap(file))
	}
	return newStaged(e, m.Name, file, model), nil
}

// Close gives the library back. While a model is open it refuses: something may
// still compute.
func (e *Engine) Close() error {
	if n := e.open.Load(); n > 0 {
		return fmt.Errorf("close the engine: %w: %d", errModelsOpen, n)
	}
	e.trim.stop()
	return errors.Join(e.session.Destroy(), releaseLibrary())
}

var errModelsOpen = errors.New("models are open")

var errNotAFile = errors.New("it is not a regular file")

// readFile reads a file into memory outside Go's heap: models are large, live
// long and hold no pointers, and their bytes go back the moment they are closed.
func readFile(ctx context.Context, path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrBadModel, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %w", engine.ErrBadModel, errNotAFile)
	case info.Size() == 0:
		return nil, fmt.Errorf("%w: the file is empty", engine.ErrBadModel)
	case info.Size() > onnxfile.MaxBytes:
		return nil, fmt.Errorf("%w: the file has %d bytes; an ONNX file has at most %d", engine.ErrBadModel, info.Size(), onnxfile.MaxBytes)
	}
	memory, err := mapMemory(int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("%w: %d bytes for the file: %w", engine.ErrNoMemory, info.Size(), err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unmap(memory))
		}
	}()
	const step = 16 << 20 // between two looks at ctx
	for rest := memory; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := io.ReadFull(f, rest[:min(step, len(rest))])
		if err != nil {
			return nil, fmt.Errorf("%w: read the file: %w", engine.ErrBadModel, err)
		}
		rest = rest[n:]
	}
	return memory, nil
}
