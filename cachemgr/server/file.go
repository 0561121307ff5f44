package server

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// file is one model file, under all its names.
type file struct {
	digest string
	format engine.Format
	pinned bool // guarded by catalog.changes

	// spec is set once known: a file does not change.
	spec atomic.Pointer[fileSpec]
	// preloaded is nil until a loading ahead of use has ended.
	preloaded atomic.Pointer[preloaded]
}

// fileSpec is what a model takes and gives, with what is worked out from that
// once instead of for every request.
type fileSpec struct {
	engine.Spec
	outputBytes []int64 // by output; -1 where the shape is not known before a run
	everyOutput []int   // 0, 1, 2, …
}

// specOf describes a file. The first call for a file may have to read it.
func (s *Server) specOf(ctx context.Context, f *file) (*fileSpec, error) {
	if known := f.spec.Load(); known != nil {
		return known, nil
	}
	spec, err := s.manager.Spec(ctx, f.digest)
	switch {
	case err != nil:
		return nil, err
	case !spec.Known:
		return nil, fmt.Errorf("%w: its inputs and outputs cannot be known", engine.ErrBadModel)
	}
	known := newFileSpec(spec)
	f.spec.Store(known)
	return known, nil
}

func newFileSpec(spec engine.Spec) *fileSpec {
	out := &fileSpec{Spec: spec, outputBytes: make([]int64, len(spec.Outputs))}
	for i, o := range spec.Outputs {
		n, err := tensor.ByteSize(o.Datatype, o.Shape)
		if err != nil {
			n = -1
		}
		out.outputBytes[i] = n
		out.everyOutput = append(out.everyOutput, i)
	}
	return out
}
