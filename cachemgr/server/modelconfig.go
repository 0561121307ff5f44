package server

import (
	"net/http"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// modelConfig describes a model as Triton's configuration would.
func (s *Server) modelConfig(w http.ResponseWriter, r *http.Request, c Caller) error {
	e, spec, err := s.describe(r, c)
	if err != nil {
		return err
	}
	platform := s.platformOf(e.file)
	backend, _, _ := strings.Cut(platform, "_")
	config := oip.ModelConfig{
		Name: e.offer.Name, Platform: platform, Backend: backend, ModelFile: "model." + string(e.file.format),
		MaxBatchSize: maxBatch(spec.Spec, e.offer.Config.MaxBatch),
	}
	batched := config.MaxBatchSize > 0
	config.Input, config.Output = configTensors(spec.Inputs, batched), configTensors(spec.Outputs, batched)
	config.VersionPolicy.Latest.NumVersions = 1
	s.writeJSON(w, http.StatusOK, config)
	return nil
}

// maxBatch is the largest batch, 0 for a model that has none or whose batch has no
// bound: only where the first dimension of all its tensors is dynamic can it be
// one. offered is what the function says of its model, 0 if nothing.
func maxBatch(spec engine.Spec, offered int) int {
	for _, tensors := range [][]tensor.Spec{spec.Inputs, spec.Outputs} {
		for _, t := range tensors {
			if len(t.Shape) == 0 || t.Shape[0] != -1 {
				return 0
			}
		}
	}
	switch {
	case offered > 0 && spec.MaxBatch > 0:
		return min(offered, spec.MaxBatch)
	case offered > 0 && spec.MaxBatch < 0:
		return offered
	}
	return max(spec.MaxBatch, 0)
}

func configTensors(specs []tensor.Spec, batched bool) []oip.ConfigTensor {
	out := make([]oip.ConfigTensor, len(specs))
	for i, t := range specs {
		dims := t.Shape
		if batched {
			dims = dims[1:]
		}
		// A scalar is a list in JSON, not null.
		out[i] = oip.ConfigTensor{Name: t.Name, DataType: oip.ConfigDatatype(t.Datatype), Dims: append([]int64{}, dims...)}
	}
	return out
}
