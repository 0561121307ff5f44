package main

import (
	"time"

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
}

func readConfig(s *env.Set) config {
	return config{
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
		},
		drain: s.Duration("shutdown_timeout", 30*time.Second, "time for requests to finish after SIGTERM"),
	}
}
