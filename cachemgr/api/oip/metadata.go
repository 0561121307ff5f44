package oip

import "github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"

// ErrorBody is the body of every answer that is not 2xx.
type ErrorBody struct {
	Error string `json:"error"`
}

// ServerMetadata answers GET /v2.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// ModelMetadata answers GET /v2/models/NAME.
type ModelMetadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions"`
	Platform string           `json:"platform"` // "onnxruntime_onnx", "tensorrt_plan"
	Inputs   []TensorMetadata `json:"inputs"`
	Outputs  []TensorMetadata `json:"outputs"`
}

// TensorMetadata describes an input or output; a dynamic dimension is -1.
type TensorMetadata struct {
	Name     string          `json:"name"`
	Datatype tensor.Datatype `json:"datatype"`
	Shape    []int64         `json:"shape"`
}

// ServerLive answers GET /v2/health/live.
type ServerLive struct {
	Live bool `json:"live"`
}

// ServerReady answers GET /v2/health/ready.
type ServerReady struct {
	Ready bool `json:"ready"`
}

// ModelReady answers GET /v2/models/NAME/ready.
type ModelReady struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
}

// IndexRequest is the body of POST /v2/repository/index; an empty body is one
// with Ready false.
type IndexRequest struct {
	Ready bool `json:"ready"` // only models that are ready
}

// IndexEntry is one element of the answer to an IndexRequest, an array.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"` // one of the Index values
	Reason  string `json:"reason"`
}

// States in the repository index.
const (
	IndexReady       = "READY"
	IndexLoading     = "LOADING"
	IndexUnloading   = "UNLOADING"
	IndexUnavailable = "UNAVAILABLE"
)

// Statistics answers GET /v2/models/stats and GET /v2/models/NAME/stats.
type Statistics struct {
	Models []ModelStatistics `json:"model_stats"`
}

// ModelStatistics counts what happened to one version of a model.
type ModelStatistics struct {
	Name           string            `json:"name"`
	Version        string            `json:"version"`
	LastInference  int64             `json:"last_inference"` // milliseconds since 1970; 0: never
	InferenceCount int64             `json:"inference_count"`
	ExecutionCount int64             `json:"execution_count"`
	Inference      InferenceStats    `json:"inference_stats"`
	Batches        []BatchStatistics `json:"batch_stats"`
	Memory         []MemoryUsage     `json:"memory_usage"`
}

// Duration is a number of events and their time together.
type Duration struct {
	Count int64 `json:"count"`
	Ns    int64 `json:"ns"`
}

// InferenceStats are the parts of the time that requests took.
type InferenceStats struct {
	Success       Duration `json:"success"`
	Fail          Duration `json:"fail"`
	Queue         Duration `json:"queue"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
	// CacheHit and CacheMiss are about cached responses, which there are none of;
	// Triton's clients expect the fields.
	CacheHit  Duration `json:"cache_hit"`
	CacheMiss Duration `json:"cache_miss"`
}

// BatchStatistics are the executions of one batch size.
type BatchStatistics struct {
	BatchSize     int64    `json:"batch_size"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
}

// MemoryUsage is what a model takes in one kind of memory.
type MemoryUsage struct {
	Type     string `json:"type"` // "CPU", "CPU_PINNED", "GPU"
	ID       int64  `json:"id"`
	ByteSize int64  `json:"byte_size"`
}

// RepositoryParameters is the body of POST /v2/repository/models/NAME/load and
// /unload. An empty body is one without parameters.
type RepositoryParameters struct {
	Parameters map[string]any `json:"parameters,omitempty"`
}
