package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
	"github.com/faas-gpu/faas-gpu/native"
)

// builderOff as engine_builder means that no plans are made.
const builderOff = "off"

// openEngines loads what computes and tells the node of it. ONNX Runtime comes
// first: it says whether this process can stand in for a GPU that is missing.
func (c *config) openEngines(environ []string, log *slog.Logger) error {
	if c.engine == engineCPU || c.gpu.fallback {
		cpu, err := c.openCPU(log)
		if err != nil && c.engine == engineTensorRT {
			return fmt.Errorf("ONNX Runtime is to stand in for GPUs (cpu_fallback=false does without): %w", err)
		}
		if err != nil {
			return err
		}
		c.node.Engine = cpu
	}
	if c.node.Concurrency == 0 {
		c.node.Concurrency = cpuConcurrency(runtime.GOMAXPROCS(0), c.cpu.threads)
	}
	if c.engine == engineCPU {
		return nil
	}
	c.node.GPU.Concurrency = c.gpu.slots
	c.node.GPU.Build.Program, c.node.GPU.Build.Environ = c.gpu.builderProgram(), environ
	gpu, err := c.openGPU(log)
	switch {
	case err == nil:
		c.node.GPU.Engine = gpu
	case c.node.Engine != nil && errors.Is(err, engine.ErrUnavailable):
		log.Warn("no GPU: the CPU stands in until there is one", "error", err)
		c.node.GPU.Missing = err
	default:
		return errors.Join(err, c.closeEngines())
	}
	return nil
}

// builderProgram is the engine builder, "" for none.
func (c gpuConfig) builderProgram() string {
	switch c.builder {
	case builderOff:
		return ""
	case "":
		return filepath.Join(filepath.Dir(c.library), "gpushim-build")
	}
	return c.builder
}

// closeEngines is called once nothing uses them any more.
func (c *config) closeEngines() error {
	var errs []error
	for _, e := range []engine.Engine{c.node.GPU.Engine, c.node.Engine} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	return errors.Join(errs...)
}

// openCPU loads ONNX Runtime under the limits of the configuration.
func (c *config) openCPU(log *slog.Logger) (engine.Engine, error) {
	if c.cpu.processLimit > 0 {
		if err := onnxrt.LimitMemory(c.cpu.processLimit); err != nil {
			return nil, fmt.Errorf("process_memory_limit: %w", err)
		}
	}
	e, err := onnxrt.New(onnxrt.Options{
		Library: c.cpu.library, Threads: c.cpu.threads,
		MaxOutputBytes: c.node.MaxOutput, MemoryLimit: c.cpu.modelLimit, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// openGPU loads TensorRT and makes a context on each GPU.
func (c *config) openGPU(log *slog.Logger) (engine.Engine, error) {
	e, err := native.New(native.Options{
		Library: c.gpu.library, Settings: c.gpu.settings, Slots: c.gpu.slots,
		HostBytes: c.node.HostBudget, Log: log, // device_budget: the node says it to the engine
	})
	if err != nil {
		return nil, fmt.Errorf("engine=%s, gpushim_library=%s: %w", engineTensorRT, c.gpu.library, err)
	}
	return e, nil
}

// cpuConcurrency is how many requests keep all processors busy.
func cpuConcurrency(processors, threads int) int {
	if threads == 0 {
		return 1 // one request has them all
	}
	return max(1, processors/threads)
}
