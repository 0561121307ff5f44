// Package testengine is an engine for tests of what stands above the engine
// contract. It computes something that depends on the model, counts its bytes,
// poisons what it gives back, and reports every use that the contract forbids.
package testengine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Op is a kind of call.
type Op string

const (
	Open    Op = "open"
	Load    Op = "load"
	Run     Op = "run"
	Evict   Op = "evict"   // Instance.Close
	Unstage Op = "unstage" // Staged.Close
)

// Call is one call of the engine.
type Call struct {
	Op     Op
	Model  string          // engine.Model.Path
	Device engine.DeviceID // of Load, Run and Evict
}

// Model is what a path stands for; there are no files.
type Model struct {
	Cost engine.Cost
	// Measured, if not zero, is the cost from the first load on.
	Measured engine.Cost
	// Concurrency is Spec.Concurrency; 0 is 1.
	Concurrency int
	// MaxBatch is Spec.MaxBatch.
	MaxBatch int
	// Fixed: the first dimension in the Spec is not dynamic.
	Fixed bool
	// Refuses, if set, says which inputs are ErrBadInput.
	Refuses func(in []byte) bool
	// Late: Spec.Known is false until the first load.
	Late bool
}

// Engine implements engine.Engine. Set the exported fields before its first use.
type Engine struct {
	// Errorf reports a breach of the contract; a test's Errorf.
	Errorf func(format string, args ...any)
	// List is what Devices returns, or ListError.
	List      []engine.Device
	ListError error
	// Budget is what no device may ever hold more of; absent is no limit.
	Budget map[engine.DeviceID]int64
	// HostBudget likewise; 0 is no limit.
	HostBudget int64
	// Before, if set, runs at the start of each call and may block or fail it. A
	// failing Evict or Unstage gives back its bytes all the same.
	Before func(ctx context.Context, c Call) error
	// After, if set, runs at the end of each call.
	After func(c Call)

	mu     sync.Mutex
	models map[string]Model
	bytes  map[engine.DeviceID]int64
	host   int64
	open   int // staged models
	calls  map[Call]int
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine with one device "cpu" of a GiB.
func New(errorf func(format string, args ...any)) *Engine {
	return &Engine{
		Errorf: errorf,
		List:   []engine.Device{{ID: "cpu", Name: "test", Kind: "cpu", TotalBytes: 1 << 30, FreeBytes: 1 << 30}},
		models: map[string]Model{}, bytes: map[engine.DeviceID]int64{}, calls: map[Call]int{},
	}
}

// Define says what a path stands for; any other is a bad model.
func (e *Engine) Define(path string, m Model) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.models[path] = m
}

// Bytes are what the engine holds on a device and in host memory.
func (e *Engine) Bytes(d engine.DeviceID) (device, host int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes[d], e.host
}

// Calls is how often a call was made.
func (e *Engine) Calls(c Call) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[c]
}

// Row is the size of a row whose output is the same in every place of a batch.
const Row = sha256.Size

// Expect is the output of a model for an input.
func Expect(path string, in []byte) []byte {
	out := make([]byte, len(in))
	apply(weights(path), in, out)
	return out
}

func weights(path string) []byte {
	sum := sha256.Sum256([]byte(path))
	return sum[:]
}

func apply(weights, in, out []byte) {
	for i, x := range in {
		out[i] = x ^ weights[i%len(weights)]
	}
}

func (e *Engine) Name() string { return "test" }

func (e *Engine) Devices(context.Context) ([]engine.Device, error) { return e.List, e.ListError }

func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open > 0 {
		e.Errorf("engine closed with %d models open", e.open)
	}
	return nil
}

func (e *Engine) Open(ctx context.Context, m engine.Model) (engine.Staged, error) {
	c := Call{Op: Open, Model: m.Path}
	defer e.after(c)
	if err := e.before(ctx, c); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	def, ok := e.models[m.Path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", m.Path, engine.ErrBadModel)
	}
	e.open++
	s := &staged{engine: e, path: m.Path, def: def, on: map[engine.DeviceID]*instance{}, residue: map[engine.DeviceID]int64{}}
	e.addHost(def.Cost.Host)
	return s, nil
}

func (e *Engine) before(ctx context.Context, c Call) error {
	e.mu.Lock()
	e.calls[c]++
	e.mu.Unlock()
	if e.Before != nil {
		return e.Before(ctx, c)
	}
	runtime.Gosched() // let the other schedules happen
	return nil
}

func (e *Engine) after(c Call) {
	if e.After != nil {
		e.After(c)
	}
}

// add counts device bytes; e.mu is held.
func (e *Engine) add(d engine.DeviceID, n int64) {
	e.bytes[d] += n
	if limit, ok := e.Budget[d]; ok && e.bytes[d] > limit {
		e.Errorf("%d bytes on %s, budget %d", e.bytes[d], d, limit)
	}
}

// addHost counts host bytes; e.mu is held.
func (e *Engine) addHost(n int64) {
	e.host += n
	if e.HostBudget > 0 && e.host > e.HostBudget {
		e.Errorf("%d bytes in host memory, budget %d", e.host, e.HostBudget)
	}
}

// Spec of every model here: bytes in, as many bytes out.
func spec(m Model) engine.Spec {
	any1 := []int64{-1}
	if m.Fixed {
		any1[0] = 1
	}
	return engine.Spec{
		Known:       true,
		Inputs:      []tensor.Spec{{Name: "x", Datatype: tensor.Uint8, Shape: any1}},
		Outputs:     []tensor.Spec{{Name: "y", Datatype: tensor.Uint8, Shape: any1}},
		MaxBatch:    m.MaxBatch,
		Concurrency: max(m.Concurrency, 1),
	}
}
