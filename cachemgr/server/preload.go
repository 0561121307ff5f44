package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// preloaded is how the last loading of a file ahead of its use has ended.
type preloaded struct{ err error }

// preload makes a model resident in the background, because its function wants it
// so from the start.
func (s *Server) preload(f *file) {
	want := api.PrefetchRequest{Digest: f.digest}
	s.load(want, func(err error) {
		if errors.Is(err, context.Canceled) {
			return // the server ends
		}
		if before := f.preloaded.Swap(&preloaded{err}); before == nil || before.err == nil {
			s.logNotLoaded(want, err) // once: it is tried whenever somebody asks
		}
	})
}

// notPreloaded is why a function that wants its model resident from the start is
// not ready: the model is being loaded, or the engine refuses it. That it was
// evicted since, or has no room just now, is no reason.
func (s *Server) notPreloaded(e *entry) error {
	if !e.offer.Preload {
		return nil
	}
	switch last := e.file.preloaded.Load(); {
	case last == nil:
		s.preload(e.file) // if it is not under way
		return errors.New("it is being loaded")
	case errors.Is(last.err, engine.ErrBadModel):
		s.preload(e.file) // who asks wants to know whether that is still so
		return fmt.Errorf("it cannot be loaded: %w", last.err)
	}
	return nil
}
