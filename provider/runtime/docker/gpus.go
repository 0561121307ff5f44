package docker

import (
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// dedicated is whether each replica of a function has a GPU for itself.
func dedicated(d runtime.Deployment) bool { return d.Environment["cachemgr_mode"] == "child" }

// gpus are the devices that functions may have for themselves.
type gpus struct {
	mu   sync.Mutex
	all  []string
	used map[string]bool
}

func newGPUs(all []string) *gpus { return &gpus{all: all, used: map[string]bool{}} }

// take returns a GPU that nobody has; reconcile.ErrNoRoom if there is none.
func (g *gpus) take() (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gpu := range g.all {
		if !g.used[gpu] {
			g.used[gpu] = true
			return gpu, nil
		}
	}
	return "", fmt.Errorf("none of the %d GPUs for single functions is free: %w", len(g.all), reconcile.ErrNoRoom)
}

// keep notes that a replica has a GPU; give, that it has it no more. Either does
// nothing for "".
func (g *gpus) keep(gpu string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gpu != "" {
		g.used[gpu] = true
	}
}

func (g *gpus) give(gpu string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.used, gpu)
}

func (g *gpus) free() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gpu := range g.all {
		if !g.used[gpu] {
			n++
		}
	}
	return n
}

// roomFor is whether so many more replicas of a deployment find what only one
// can have. ErrInvalid.
func (r *Runtime) roomFor(d runtime.Deployment, more int) error {
	if free := r.gpus.free(); dedicated(d) && more > free {
		return fmt.Errorf("%w: com.openfaas.gpu.mode: dedicated: %d more GPUs are needed, and %d of %d are free", runtime.ErrInvalid, more, free, len(r.config.GPUs))
	}
	return nil
}

// gpuRequest is how the daemon is asked for a GPU; nil for "".
func (r *Runtime) gpuRequest(gpu string) *gpuRequest {
	switch {
	case gpu == "":
		return nil
	case r.config.GPUDriver == "cdi":
		return &gpuRequest{Driver: "cdi", Device: "nvidia.com/gpu=" + gpu}
	}
	return &gpuRequest{Driver: "nvidia", Device: gpu}
}
