package server

import (
	"context"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Manager is what the server needs of a cache manager. Models are named by the
// digest of their file.
type Manager interface {
	Runner
	Registry
	Residency
	Observer
}

// Runner serves requests.
type Runner interface {
	Infer(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error)
	// Spec describes a model. If nothing is known of it yet it stages the model,
	// and loads one that must be loaded to be known.
	Spec(ctx context.Context, digest string) (engine.Spec, error)
	// Ready says at once why a request for a model would be refused, nil if it
	// would be tried.
	Ready(digest string) error
}

// Registry knows which models there are. Its calls may be repeated and return
// soon: Forget drains and evicts in the background.
type Registry interface {
	Add(m cachemgr.Model) error
	Forget(digest string) error
	Pin(digest string, on bool) error
}

// Residency moves models without running them.
type Residency interface {
	// Load returns when the model is resident; device is a hint.
	Load(ctx context.Context, digest string, device engine.DeviceID) error
	// Unload returns when the model is neither on a device nor staged.
	Unload(ctx context.Context, digest string) error
}

// Observer shows what the manager does.
type Observer interface {
	Status() cachemgr.Status
	// Changed returns a channel that is closed once the status has a generation
	// above after.
	Changed(after uint64) <-chan struct{}
}
