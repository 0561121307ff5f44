package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/build"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/variant"
)

// GPU is what a node with GPUs has beside what every node has.
type GPU struct {
	Engine      engine.Engine // nil: see Missing; the caller closes it after Shutdown
	Missing     error         // why there is none, where there should be one
	Concurrency int           // requests that are on a GPU at once; 0: one

	// Build says how plans are made of ONNX files; no Program: not at all. The node
	// fills in the folder and the GPU, and what is zero of the memory.
	Build build.Config

	// Bytes of models on the CPU that stands in; 0: two tenths of the host's memory
	// while they compute, and one tenth while they wait.
	CPUBudget, CPUHostBudget int64
}

// present: GPUs are spoken of on this node.
func (g GPU) present() bool { return g.Engine != nil || g.Missing != nil }

// The CPU's parts of the host's memory where it stands in for GPUs, in tenths.
const (
	standInTenths     = 2
	standInHostTenths = 1
)

// Most device memory that a build gets by default: a quarter of the budget, and
// not more than this.
const mostBuildMemory = 4 << 30

// engines are the managers of a node, one for each engine, and what joins them.
type engines struct {
	cpu, gpu *cachemgr.Manager // either may be nil
	builder  *build.Builder    // nil: no plans are made
	router   *variant.Router
}

// openEngines puts managers over the engines. An error leaves nothing behind.
func (c Config) openEngines(ctx context.Context) (_ *engines, err error) {
	e := &engines{}
	defer func() {
		if err != nil {
			_ = e.close(ctx) // nothing is in it
		}
	}()
	v := variant.Config{
		NoGPU: c.GPU.Missing, QueueTimeout: c.QueueTimeout, QueueDepth: c.QueueDepth, Log: c.Log,
	}
	if c.GPU.Engine != nil {
		if err := e.openGPU(ctx, c, &v); err != nil {
			return nil, err
		}
	}
	if c.Engine != nil {
		if e.cpu, err = c.manage(ctx, c.cpuShare()); err != nil {
			return nil, err
		}
		v.CPU = e.cpu
	}
	e.router, err = variant.New(v)
	return e, err
}

func (e *engines) openGPU(ctx context.Context, c Config, v *variant.Config) (err error) {
	devices, err := c.GPU.Engine.Devices(ctx)
	if err != nil {
		return fmt.Errorf("GPUs: %w", err)
	}
	if len(devices) == 0 {
		return fmt.Errorf("GPUs: %s shows none: %w", c.GPU.Engine.Name(), engine.ErrUnavailable)
	}
	if e.gpu, err = c.manage(ctx, share{c.GPU.Engine, c.DeviceBudget, c.HostBudget, c.GPU.Concurrency}); err != nil {
		return err
	}
	v.GPU, v.Device = e.gpu, devices[0].ID
	if c.GPU.Build.Program == "" {
		return nil
	}
	for _, d := range devices {
		if d.Name != devices[0].Name {
			return fmt.Errorf("GPUs of two kinds, %q and %q: a plan is good for one only; run a cache manager for each kind (CUDA_VISIBLE_DEVICES)",
				devices[0].Name, d.Name)
		}
	}
	b := c.GPU.Build
	b.Dir, b.Device, b.Log = filepath.Join(c.StorePath, "plans"), devices[0].ID, c.Log
	b.GPU = buildGPU{e.gpu, devices[0].ID}
	if b.DeviceMemory == 0 {
		b.DeviceMemory = min(e.gpu.Status().Devices[0].Budget/4, mostBuildMemory)
	}
	if b.HostMemory == 0 {
		b.HostMemory = hostBytes(nil) / 2
	}
	if e.builder, err = build.New(b); err != nil {
		return err
	}
	v.Builder = e.builder
	return nil
}

// share is an engine with its part of the node.
type share struct {
	engine       engine.Engine
	deviceBudget int64
	hostBudget   int64
	concurrency  int
}

// cpuShare is the CPU's: all of the node's, or where it stands in for GPUs less.
func (c Config) cpuShare() share {
	s := share{c.Engine, c.DeviceBudget, c.HostBudget, c.Concurrency}
	if !c.GPU.present() {
		return s
	}
	s.deviceBudget, s.hostBudget = c.GPU.CPUBudget, c.GPU.CPUHostBudget
	if s.deviceBudget == 0 {
		s.deviceBudget = hostBytes(nil) / 10 * standInTenths
	}
	if s.hostBudget == 0 {
		s.hostBudget = hostBytes(nil) / 10 * standInHostTenths
	}
	return s
}

// manage makes the manager of one engine.
func (c Config) manage(ctx context.Context, s share) (*cachemgr.Manager, error) {
	devices, err := s.engine.Devices(ctx)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	return cachemgr.New(c.managerConfig(s, devices))
}

// platform is what ONNX files are served as, in Triton's words.
func (c Config) platform() string {
	if c.Engine == nil {
		return "tensorrt_plan"
	}
	return c.Engine.Name() + "_onnx"
}

// noPlans is why plans cannot run here, nil if they can.
func (c Config) noPlans() error {
	switch {
	case c.GPU.Engine != nil:
		return nil
	case c.GPU.Missing != nil:
		return c.GPU.Missing
	}
	return errors.New("this node computes on the CPU (engine=cpu)")
}

// close gives everything back: first who uses the managers, then these.
func (e *engines) close(ctx context.Context) error {
	var errs []error
	if e.router != nil {
		e.router.Close()
	}
	for _, m := range []*cachemgr.Manager{e.gpu, e.cpu} {
		if m != nil {
			errs = append(errs, m.Close(ctx))
		}
	}
	if e.builder != nil {
		errs = append(errs, e.builder.Close())
	}
	return errors.Join(errs...)
}

// buildGPU is a GPU as builds see it.
type buildGPU struct {
	manager *cachemgr.Manager
	id      engine.DeviceID
}

// Activity counts every change in the manager: that no model moves either while
// kernels are timed does no harm.
func (g buildGPU) Activity() (stamp uint64, busy bool) {
	st := g.manager.Status()
	for _, d := range st.Devices {
		busy = busy || d.ID == string(g.id) && d.Running+d.Queued > 0
	}
	return st.Generation, busy
}

func (g buildGPU) Reserve(ctx context.Context, bytes int64) (func(), error) {
	return g.manager.Reserve(ctx, g.id, bytes)
}
