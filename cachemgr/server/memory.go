package server

import (
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// memory bounds what all requests under way take together, so that many large
// ones that wait, or come slowly, cannot use up the host's memory. And it keeps
// some for everybody: a function may have no more than it leaves to the others.
// So one alone gets half of it, n greedy ones get one part in n+1 each.
type memory struct {
	limit int64

	mu         sync.Mutex
	used       int64
	byFunction map[api.FunctionRef]int64 // those that have any
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, byFunction: make(map[api.FunctionRef]int64)}
}

// take sets n bytes aside for a request of a function that has mine already. It
// does not wait: whoever would have to, would hold its connection and its turn
// while others that are smaller fit. A function's only request may have all.
func (m *memory) take(f api.FunctionRef, n, mine int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	free, own := m.limit-m.used, m.byFunction[f]
	if n > free {
		return fmt.Errorf("%w: the bodies and outputs of all requests may have %d bytes together", errBusy, m.limit)
	}
	if own > mine && own+n > free {
		return fmt.Errorf("%w: this function's requests have %d bytes, and may have no more than is left to others", errBusy, own)
	}
	m.used += n
	m.byFunction[f] = own + n
	return nil
}

// give ends what take began.
func (m *memory) give(f api.FunctionRef, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	if m.byFunction[f] -= n; m.byFunction[f] == 0 {
		delete(m.byFunction, f)
	}
}

// taken is how many bytes requests have now.
func (m *memory) taken() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}
