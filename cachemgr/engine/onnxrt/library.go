package onnxrt

import (
	"errors"
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// library is the process's one ONNX Runtime environment. It is a package variable
// because the binding's is.
var library struct {
	sync.Mutex
	path  string
	limit int64
	users int
}

// acquireLibrary loads the library, with the memory limit given, or counts one
// more user of it.
func acquireLibrary(path string, limit int64) error {
	library.Lock()
	defer library.Unlock()
	if library.users > 0 {
		if path != library.path {
			return fmt.Errorf("%w: this process has loaded ONNX Runtime from %s already, and cannot load %s beside it", engine.ErrUnavailable, library.path, path)
		}
		if limit != library.limit {
			return fmt.Errorf("%w: the models of this process share a memory limit of %d bytes; it cannot be %d too", engine.ErrUnavailable, library.limit, limit)
		}
		library.users++
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: there is no ONNX Runtime library at %q, where onnxruntime_library says: %w", engine.ErrUnavailable, path, err)
	}
	ort.SetSharedLibraryPath(path)
	// Its errors come back as values; printing them too would let every caller
	// with a bad tensor write into the log.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: the library at %q cannot be loaded: %w", engine.ErrUnavailable, path, err)
	}
	if err := limitAllocations(path, limit); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", engine.ErrUnavailable, err), ort.DestroyEnvironment())
	}
	library.path, library.limit, library.users = path, limit, 1
	return nil
}

// releaseLibrary undoes one acquireLibrary.
func releaseLibrary() error {
	library.Lock()
	defer library.Unlock()
	if library.users--; library.users > 0 {
		return nil
	}
	unlimitAllocations()
	return ort.DestroyEnvironment()
}
