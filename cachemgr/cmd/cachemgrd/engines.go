package main

import (
	"fmt"
	"log/slog"
	"runtime"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
	"github.com/faas-gpu/faas-gpu/native"
)

// openEngine loads what computes, and says how many requests keep a device busy.
func (c *config) openEngine(log *slog.Logger) (e engine.Engine, concurrency int, err error) {
	if c.engine == engineTensorRT {
		e, err = c.openGPU(log)
		return e, c.gpu.slots, err
	}
	e, err = c.openCPU(log)
	return e, cpuConcurrency(runtime.GOMAXPROCS(0), c.cpu.threads), err
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
		DeviceBytes: c.node.DeviceBudget, HostBytes: c.node.HostBudget, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("engine=%s: %w", engineTensorRT, err)
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
