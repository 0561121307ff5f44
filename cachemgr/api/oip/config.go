package oip

import "github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"

// ModelConfig answers GET /v2/models/NAME/config, an extension of Triton's: those
// of its fields that say something about a model here.
type ModelConfig struct {
	Name     string `json:"name"`
	Platform string `json:"platform"`
	Backend  string `json:"backend"`
	// MaxBatchSize is 0 for a model without a batch dimension; otherwise the
	// dimensions of its tensors are without it.
	MaxBatchSize  int            `json:"max_batch_size"`
	Input         []ConfigTensor `json:"input"`
	Output        []ConfigTensor `json:"output"`
	VersionPolicy VersionPolicy  `json:"version_policy"`
	ModelFile     string         `json:"default_model_filename"`
}

// ConfigTensor describes an input or output; a dynamic dimension is -1.
type ConfigTensor struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"` // see ConfigDatatype
	Dims     []int64 `json:"dims"`
}

// VersionPolicy says that the highest versions are served.
type VersionPolicy struct {
	Latest struct {
		NumVersions int `json:"num_versions"`
	} `json:"latest"`
}

// ConfigDatatype is what a model's configuration calls a datatype.
func ConfigDatatype(d tensor.Datatype) string {
	if d == tensor.Bytes {
		return "TYPE_STRING"
	}
	return "TYPE_" + string(d)
}
