package region

import (
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// Region is memory that a function shares.
type Region struct {
	pool     *Pool
	function api.FunctionRef
	name     string
	charge   int64
	data     []byte
	unpin    func() // nil: not pinned

	uses int // guarded by pool.mu: its registration, and each request
}

// Name is what requests call it.
func (r *Region) Name() string { return r.name }

// Size is how many bytes it has.
func (r *Region) Size() int64 { return int64(len(r.data)) }

// Slice is a part of it, neither of the numbers negative; ErrRange.
func (r *Region) Slice(offset, size int64) ([]byte, error) {
	if have := int64(len(r.data)); offset > have || size > have-offset {
		return nil, fmt.Errorf("%w %q, which has %d bytes: %d from byte %d on", ErrRange, r.name, have, size, offset)
	}
	return r.data[offset : offset+size : offset+size], nil
}

// Release ends a use. The last one gives the memory back; no slice of it may be
// used any more.
func (r *Region) Release() {
	r.pool.mu.Lock()
	r.uses--
	last := r.uses == 0
	r.pool.mu.Unlock()
	if !last {
		return
	}
	if r.unpin != nil {
		r.unpin()
	}
	if err := shm.Unmap(r.data); err != nil {
		r.pool.Log.Error("shared memory not unmapped", "bytes", len(r.data), "error", err)
	}
	r.pool.discharge(r.function, r.charge)
}
