package server

import (
	"fmt"
	"net/http"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func (s *Server) serverMetadata(w http.ResponseWriter, r *http.Request, _ Caller) error {
	s.writeJSON(w, http.StatusOK, oip.ServerMetadata{
		Name:       "faas-gpu",
		Version:    s.version,
		Extensions: []string{"binary_tensor_data", "model_repository", "statistics"},
	})
	return nil
}

func (s *Server) live(w http.ResponseWriter, r *http.Request, _ Caller) error {
	s.writeJSON(w, http.StatusOK, oip.ServerLive{Live: true})
	return nil
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ Caller) error {
	switch {
	case s.draining():
		return fmt.Errorf("%w: shutting down", errNotReady)
	case len(s.manager.Status().Devices) == 0:
		return fmt.Errorf("%w: no device", errNotReady)
	}
	s.writeJSON(w, http.StatusOK, oip.ServerReady{Ready: true})
	return nil
}

// modelReady says whether the model can serve, which is not whether it is
// resident: a request brings it there. A file is read once to find out.
func (s *Server) modelReady(w http.ResponseWriter, r *http.Request, c Caller) error {
	e, err := s.model(r, c)
	if err != nil {
		return err
	}
	if s.draining() {
		return fmt.Errorf("%w: shutting down", errNotReady)
	}
	_, err = s.specOf(r.Context(), e.file)
	if err == nil { // it can be read, but perhaps not be loaded
		err = s.manager.Ready(e.file.digest)
	}
	if err == nil {
		err = s.notPreloaded(e)
	}
	if err != nil {
		// Not %w: whatever the reason, the answer to this question is "not ready".
		return fmt.Errorf("%w: model %q: %v", errNotReady, e.offer.Name, err)
	}
	s.writeJSON(w, http.StatusOK, oip.ModelReady{Name: e.offer.Name, Ready: true})
	return nil
}

// describe finds the model of a request with what it takes and gives.
func (s *Server) describe(r *http.Request, c Caller) (*entry, *fileSpec, error) {
	e, err := s.model(r, c)
	if err != nil {
		return nil, nil, err
	}
	spec, err := s.specOf(r.Context(), e.file)
	if err != nil {
		return nil, nil, fmt.Errorf("model %q: %w", e.offer.Name, err)
	}
	return e, spec, nil
}

func (s *Server) modelMetadata(w http.ResponseWriter, r *http.Request, c Caller) error {
	e, spec, err := s.describe(r, c)
	if err != nil {
		return err
	}
	m := oip.ModelMetadata{
		Name: e.offer.Name, Platform: s.platformOf(e.file),
		Inputs: tensors(spec.Inputs), Outputs: tensors(spec.Outputs),
	}
	for _, other := range s.catalog.entriesOf(c.Function) {
		if other.offer.Name == e.offer.Name {
			m.Versions = append(m.Versions, other.offer.Version)
		}
	}
	s.writeJSON(w, http.StatusOK, m)
	return nil
}

func (s *Server) platformOf(f *file) string {
	if f.format == engine.FormatPlan {
		return "tensorrt_plan"
	}
	return s.platform
}

func tensors(specs []tensor.Spec) []oip.TensorMetadata {
	out := make([]oip.TensorMetadata, len(specs))
	for i, t := range specs {
		out[i] = oip.TensorMetadata{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
		if t.Shape == nil {
			out[i].Shape = []int64{} // a scalar: a list in JSON, not null
		}
	}
	return out
}

// model finds the model that a request's path names, among the caller's own.
func (s *Server) model(r *http.Request, c Caller) (*entry, error) {
	return s.catalog.resolve(c.Function, r.PathValue("model"), r.PathValue("version"))
}
