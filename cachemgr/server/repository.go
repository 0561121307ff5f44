package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// repositoryIndex lists the caller's models. Ready is one that is resident
// somewhere; any other that is not failed becomes so by a request.
func (s *Server) repositoryIndex(w http.ResponseWriter, r *http.Request, c Caller) error {
	var want oip.IndexRequest
	if err := s.readJSON(w, r, smallBody, &want); err != nil {
		return err
	}
	index := []oip.IndexEntry{}
	models := s.manager.Status().Models
	for _, e := range s.catalog.entriesOf(c.Function) {
		state, reason := indexState(models[e.offer.Digest])
		if want.Ready && state != oip.IndexReady {
			continue
		}
		index = append(index, oip.IndexEntry{Name: e.offer.Name, Version: e.offer.Version, State: state, Reason: reason})
	}
	s.writeJSON(w, http.StatusOK, index)
	return nil
}

// indexState is the best of a model's states on the devices, in the words of the
// repository index.
func indexState(m cachemgr.ModelState) (state, reason string) {
	state = oip.IndexUnavailable
	rank := 0
	better := func(r int, s, why string) {
		if r > rank {
			rank, state, reason = r, s, why
		}
	}
	better(1, oip.IndexUnavailable, "not loaded")
	for _, i := range m.Instances {
		switch i.State {
		case api.StateResident:
			better(5, oip.IndexReady, "")
		case api.StateLoading, api.StateBuilding:
			better(4, oip.IndexLoading, "")
		case api.StateDraining:
			better(3, oip.IndexUnloading, "")
		case api.StateFailed:
			better(2, oip.IndexUnavailable, i.Reason)
		}
	}
	return state, reason
}

// repositoryLoad makes a model resident. What a caller would bring along with
// Triton, a configuration or files, it has to offer here: it is not ignored.
func (s *Server) repositoryLoad(w http.ResponseWriter, r *http.Request, c Caller) error {
	return s.move(w, r, c, func(ctx context.Context, digest string, parameters map[string]any) error {
		for name := range parameters {
			return fmt.Errorf("%w: the parameter %q is not supported: a model is loaded as it was offered", errBadRequest, name)
		}
		return s.manager.Load(ctx, digest, "")
	})
}

func (s *Server) repositoryUnload(w http.ResponseWriter, r *http.Request, c Caller) error {
	return s.move(w, r, c, func(ctx context.Context, digest string, _ map[string]any) error {
		return s.manager.Unload(ctx, digest) // no model depends on another
	})
}

// move loads or unloads one model of the caller and answers when that is done.
func (s *Server) move(w http.ResponseWriter, r *http.Request, c Caller, do func(ctx context.Context, digest string, parameters map[string]any) error) error {
	var body oip.RepositoryParameters
	if err := s.readJSON(w, r, smallBody, &body); err != nil {
		return err
	}
	e, err := s.model(r, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Run)
	defer cancel()
	if err := do(ctx, e.offer.Digest, body.Parameters); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, struct{}{})
	return nil
}
