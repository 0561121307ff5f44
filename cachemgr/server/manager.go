package server

import (
	"context"
	"io"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
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
	// Spec describes a model; it stages the model if nothing is known of it.
	Spec(ctx context.Context, digest string) (engine.Spec, error)
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

// Store is what the server needs of a store: the files by digest, and on disk
// the names that functions gave them.
type Store interface {
	Files
	Names
}

// Files keeps model files.
type Files interface {
	Has(digest string) bool
	Path(digest string) string
	Put(ctx context.Context, digest string, size int64, r io.Reader) error
	// Prove computes api.ProofOfPossession of a file.
	Prove(digest string, nonce []byte) (string, error)
}

// Names keeps what functions call their models.
type Names interface {
	// Register adds a name, or replaces what had that name and version.
	Register(ref api.FunctionRef, minted time.Time, o api.Offer) error
	// Retain drops those of a function's names that keep does not approve.
	Retain(ref api.FunctionRef, keep func(api.Offer) bool) error
	// Registered lists all.
	Registered() map[api.FunctionRef][]api.Offer
	// SetReferences drops the functions that do not exist any more.
	SetReferences(r api.References) error
}
