package main

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/build"
	"github.com/faas-gpu/faas-gpu/cachemgr/node"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

// Values of config.engine.
const (
	engineCPU      = "cpu"
	engineTensorRT = "tensorrt"
)

type config struct {
	node   node.Config
	engine string
	cpu    cpuConfig
	gpu    gpuConfig
	drain  time.Duration
	// pause is the least time from the start of the process to a restart of its
	// own accord.
	pause time.Duration
	// look is when a GPU is looked for again that was not there at the start.
	look time.Duration
}

// cpuConfig is that of ONNX Runtime.
type cpuConfig struct {
	library      string
	threads      int
	modelLimit   int64
	processLimit int64
}

// gpuConfig is that of TensorRT.
type gpuConfig struct {
	library  string
	settings string
	slots    int
	builder  string
	fallback bool // ONNX Runtime stands in
}

func readConfig(s *env.Set) config {
	c := config{
		node:   node.ReadConfig(s),
		engine: s.OneOf("engine", engineCPU, "what computes: ONNX Runtime, or TensorRT on GPUs", engineCPU, engineTensorRT),
		cpu: cpuConfig{
			library:      s.String("onnxruntime_library", "/usr/lib/libonnxruntime.so", "file of ONNX Runtime's library"),
			threads:      s.Int("threads", 0, "threads that compute one request on the CPU; 0: all processors"),
			modelLimit:   s.Bytes("memory_limit", 0, "bytes that models running on the CPU may allocate together, beside their weights; 0: half of the host's memory"),
			processLimit: s.Bytes("process_memory_limit", 0, "bytes of private memory of this process, as a last resort: well above the budgets and memory_limit; 0: no limit"),
		},
		gpu: gpuConfig{
			library:  s.String("gpushim_library", "/usr/lib/libgpushim.so", "file of the library that runs TensorRT plans, for engine=tensorrt"),
			settings: s.String("gpushim_settings", "", `"key=value;key=value" for that library; nvinfer=PATH: TensorRT's own`),
			slots:    s.Int("gpu_slots", 2, "requests that are on a GPU at once: one computes while another's tensors are copied"),
			builder:  s.String("engine_builder", "", `program that makes plans of ONNX files; "": gpushim-build beside gpushim_library; "off": none`),
			fallback: s.Bool("cpu_fallback", true, "let ONNX Runtime answer while no GPU can, if the function agrees (fallback in model.yaml)"),
		},
		drain: s.Duration("shutdown_timeout", 30*time.Second, "time for requests to finish after SIGTERM"),
		look:  s.Duration("gpu_retry", 10*time.Second, "when to look again for a GPU that was not there at the start; then after twice as long, up to 5m"),
		pause: s.Duration("restart_pause", 30*time.Second, "least time from the start to a restart that a lost GPU causes"),
	}
	c.node.GPU = readGPU(s)
	return c
}

// readGPU reads what the node has to know of GPUs, and of the building of plans.
func readGPU(s *env.Set) node.GPU {
	return node.GPU{
		CPUBudget:     s.Bytes("cpu_budget", 0, "bytes of models on the CPU where it stands in for GPUs; 0: 2/10 of the host's memory"),
		CPUHostBudget: s.Bytes("cpu_host_budget", 0, "bytes of models in host memory for that; 0: 1/10 of it"),
		Build: build.Config{
			DeviceMemory: s.Bytes("builder_device_memory", 0, "bytes of the GPU that a build may take, half of it as workspace; 0: a quarter of device_budget, at most 4Gi"),
			HostMemory:   s.Bytes("builder_memory", 0, "bytes of host memory that a build may take; 0: half of it"),
			Timeout:      s.Duration("builder_timeout", 30*time.Minute, "longest build of a plan"),
			Idle:         s.Duration("builder_idle", 2*time.Second, "for how long a GPU has to be idle before a build begins"),
			Patience:     s.Duration("builder_patience", 10*time.Minute, "longest wait of a build for an idle GPU"),
			Quota:        s.Bytes("plan_quota", 16<<30, "bytes of plans in store_path/plans"),
		},
	}
}
