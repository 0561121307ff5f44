package cachemgr

import (
	"errors"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Model is a file that the manager may stage and load. Its key is the digest:
// equal files are one model.
type Model struct {
	Digest string // "sha256:…"
	Name   string // for messages
	Path   string
	Format engine.Format
	Size   int64
	Terms  Terms // of who brings it; a manager of one engine has no use for them
}

// Request is one inference.
type Request struct {
	Digest string
	Device engine.DeviceID // a hint; "" is no hint
	// Arrived is when the request came, zero for now. A model that was opened
	// since then counts as one that came from disk, also where a call of Spec
	// opened it.
	Arrived time.Time
	// Function asks, as "name.namespace"; attainment is counted and balanced by it.
	Function string
	// SLO is how soon after Arrived the answer should be there, zero for no
	// objective.
	SLO time.Duration
	// MaxBatch is how many rows may be computed at once, those of other requests
	// included: who sets it above 1 says that rows of the model's tensors (their
	// first dimension) do not depend on each other.
	MaxBatch int
	// Terms are the caller's; a manager of one engine has no use for them.
	Terms Terms
	In    []tensor.Tensor
	Out   []tensor.Tensor // see engine.Instance.Run: results are written here
	// Shared says that another process can change some of that memory at any
	// time: what is read there may be read once only, and nothing may be relied on
	// that was seen there before.
	Shared bool
}

// Result tells how a request was served.
type Result struct {
	Outcome string // api.CacheHit, api.CacheSwap, api.CacheLoad
	Device  engine.DeviceID
	Engine  string

	Queue   time.Duration // waiting for bytes or for the device
	Swap    time.Duration // waiting for the model to be staged and loaded
	Compute time.Duration // in engine.Instance.Run
	Batch   int           // requests in that Run
	Lead    bool          // one of the requests in a Run, by which Runs can be counted
}

// Status is an immutable snapshot of a manager.
type Status struct {
	Generation uint64 // grows with every change
	Devices    []api.DeviceStatus
	Work       []Work // by device
	Host       api.PoolStatus
	Models     map[string]ModelState // by digest
}

// ModelState is one model in a Status.
type ModelState struct {
	Staged    bool
	Pinned    bool
	Estimated bool  // Bytes is a guess from the file
	Bytes     int64 // on a device while resident
	StageNs   int64 // how long it took to stage it, 0 unless Staged
	Instances []api.InstanceStatus
	Stats     api.CacheStats
}

// Errors of the manager, beside those of package engine.
var (
	// ErrUnknownModel: no model of that digest.
	ErrUnknownModel = errors.New("unknown model")
	// ErrOverloaded: the queue is full, or the wait in it was too long. The
	// request was not run.
	ErrOverloaded = errors.New("overloaded")
	// ErrTooLarge: the model fits no device's budget, or not the host pool.
	ErrTooLarge = errors.New("model larger than the budget")
	// ErrFailed: the model could not be loaded a moment ago and is not tried
	// again before its retry time.
	ErrFailed = errors.New("model failed to load")
	// ErrClosed: the manager is shutting down.
	ErrClosed = errors.New("cache manager is closing")
)
