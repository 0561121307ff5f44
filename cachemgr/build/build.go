package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// ErrQuota: the plan does not fit, even without all plans that nobody uses.
var ErrQuota = errors.New("quota of plans exceeded")

// GPU is the device that builds run on, as its cache manager sees it.
type GPU interface {
	// Activity says whether requests run or wait, and gives a number that has
	// changed if any did since the last call.
	Activity() (stamp uint64, busy bool)
	// Reserve returns once so many bytes of the device are free, and keeps them
	// so until release is called.
	Reserve(ctx context.Context, bytes int64) (release func(), err error)
}

// Config of a Builder. All of it is needed, but for what says otherwise.
type Config struct {
	Dir   string // of the plans; created if it is missing
	Quota int64  // bytes of plans

	Program string   // gpushim-build
	Environ []string // its environment
	Device  engine.DeviceID
	GPU     GPU

	DeviceMemory int64         // bytes of the device that a build may take; half of it is workspace
	HostMemory   int64         // bytes of host memory that a build may take; it is ended at more
	Timeout      time.Duration // of a build
	Idle         time.Duration // for how long the GPU has to have been idle
	Patience     time.Duration // for how long a build waits for that

	Log *slog.Logger
}

// Want is a plan that somebody wants.
type Want struct {
	Digest    string // of the ONNX file
	ONNX      string // path of the ONNX file
	Precision string
	Batch     int // the largest, where the first dimension is dynamic
}

// Plan is a plan file. It stays until Release.
type Plan struct {
	ID     string
	Path   string
	Size   int64
	Proven bool // see Builder.Prove
	Rows   int  // most rows of a request, 0 where shapes are fixed; once it is proven
}

// Builder makes plans and keeps them. Its methods may be called at the same time,
// but for one and the same Want.
type Builder struct {
	cfg    Config
	plans  *plans
	target targetCache
	turn   chan struct{} // held by the build that goes on
}

// New opens the folder of plans and removes what a build left behind that did not
// end. It does not look whether the program works: Build does.
func New(c Config) (*Builder, error) {
	p, err := openPlans(c.Dir, c.Quota, c.Log)
	if err != nil {
		return nil, fmt.Errorf("open the folder of plans: %w", err)
	}
	b := &Builder{cfg: c, plans: p, turn: make(chan struct{}, 1)}
	b.target.describe = b.describe
	return b, nil
}

// Close lets another process open the folder. No other call may be going on.
func (b *Builder) Close() error { return b.plans.close() }

// Build returns the plan that is wanted, and makes it if it is not there. report
// is told how that goes, from this goroutine.
//
// Errors: engine.ErrBadModel: TensorRT makes no such plan of this file;
// engine.ErrUnavailable: the program, a library or the device is missing;
// engine.ErrNoMemory, engine.ErrDeviceLost, ErrQuota, ctx's, and others.
func (b *Builder) Build(ctx context.Context, w Want, report func(Progress)) (Plan, error) {
	report(Progress{Phase: PhaseStart, Fraction: unknown})
	target, err := b.target.get(ctx)
	if err != nil {
		return Plan{}, err
	}
	id := planID(w, target)
	if p, ok := b.plans.use(id); ok {
		return p, nil
	}
	report(Progress{Phase: PhaseQueued, Fraction: unknown})
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return Plan{}, ctx.Err()
	}
	report(Progress{Phase: PhaseIdle, Fraction: unknown})
	if err := b.awaitIdle(ctx); err != nil {
		return Plan{}, err
	}
	release, err := b.cfg.GPU.Reserve(ctx, b.cfg.DeviceMemory)
	if err != nil {
		return Plan{}, err
	}
	defer release()
	return b.make(ctx, w, target, id, report)
}

// make runs the program and keeps what it has written.
func (b *Builder) make(ctx context.Context, w Want, target Target, id string, report func(Progress)) (Plan, error) {
	out := b.plans.temporary(id)
	defer os.Remove(out) // gone already if all went well
	began := time.Now()
	last, err := b.run(ctx, report,
		"--onnx", w.ONNX, "--out", out, "--precision", w.Precision, "--batch", strconv.Itoa(w.Batch),
		"--timing-cache", b.plans.timings(target), "--workspace", strconv.FormatInt(b.cfg.DeviceMemory/2, 10),
		"--device", string(b.cfg.Device), "--until-stdin-ends")
	if err != nil {
		return Plan{}, fmt.Errorf("build %s of %.19s: %w", w.Precision, w.Digest, err)
	}
	if last.Target != target {
		b.target.forget()
		return Plan{}, fmt.Errorf("%s has built for %v, and said before that it builds for %v", b.cfg.Program, last.Target, target)
	}
	r := record{ID: id, Digest: w.Digest, Precision: w.Precision, Batch: w.Batch, Target: target, Made: time.Now().UTC()}
	p, err := b.plans.keep(out, r)
	if err != nil {
		return Plan{}, fmt.Errorf("keep the plan of %.19s: %w", w.Digest, err)
	}
	b.cfg.Log.Info("plan built", "digest", w.Digest, "precision", w.Precision, "batch", w.Batch, "bytes", p.Size,
		"tensorrt", target.TensorRT, "gpu", target.Device, "took", time.Since(began).Round(time.Millisecond))
	return p, nil
}

// Prove notes that a plan was loaded and fits its ONNX file, and its Rows, so that
// this need not be looked at again after a restart.
func (b *Builder) Prove(p Plan) error { return b.plans.prove(p.ID, p.Rows) }

// Release ends the use of a plan, which may then be deleted for room.
func (b *Builder) Release(p Plan) { b.plans.release(p.ID) }

// Discard deletes a plan that turned out to be no good.
func (b *Builder) Discard(p Plan) error { return b.plans.discard(p.ID) }
