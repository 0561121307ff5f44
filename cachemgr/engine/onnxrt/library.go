package onnxrt

import (
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
	users int
}

// acquireLibrary loads the library, or counts one more user of it.
func acquireLibrary(path string) error {
	library.Lock()
	defer library.Unlock()
	if library.users > 0 {
		if path != library.path {
			return fmt.Errorf("%w: this process has loaded ONNX Runtime from %s already, and cannot load %s beside it", engine.ErrUnavailable, library.path, path)
		}
		library.users++
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: there is no ONNX Runtime library at %q: %w", engine.ErrUnavailable, path, err)
	}
	ort.SetSharedLibraryPath(path)
	// Its errors come back as values; printing them too would let every caller
	// with a bad tensor write into the log.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: the library at %q cannot be loaded: %w", engine.ErrUnavailable, path, err)
	}
	library.path, library.users = path, 1
	return nil
}

// releaseLibrary undoes one acquireLibrary.
func releaseLibrary() error {
	library.Lock()
	defer library.Unlock()
	if library.users--; library.users > 0 {
		return nil
	}
	return ort.DestroyEnvironment()
}
