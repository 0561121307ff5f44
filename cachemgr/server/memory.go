package server

import (
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// memory bounds what all requests under way take together, so that many large
// ones that wait, or come slowly, cannot use up the host's memory. And it keeps
// some for everybody: a function may have no more than it leaves to the others.
// So one alone gets half of it, n greedy ones get one part in n+1 each. The same
// goes for how many requests a function has here, as the places in the manager's
// queue are few; that there are not too many in all is left to the manager.
type memory struct {
	limit  int64 // bytes
	places int   // requests

	mu         sync.Mutex
	used       int64
	requests   int
	byFunction map[api.FunctionRef]holding // those that have a request
}

// holding is what one function has.
type holding struct {
	bytes    int64
	requests int
}

func newMemory(limit int64, places int) *memory {
	return &memory{limit: limit, places: places, byFunction: make(map[api.FunctionRef]holding)}
}

// begin takes a request of a function in. It ends with end. Where callers have no
// names there is nobody to leave places to.
func (m *memory) begin(f api.FunctionRef) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, alone := m.byFunction[f], f == api.FunctionRef{}
	if !alone && own.requests > 0 && own.requests >= m.places-m.requests {
		return fmt.Errorf("%w: this function has %d requests here, and may have no more than is left to others of %d", errBusy, own.requests, m.places)
	}
	own.requests++
	m.requests++
	m.byFunction[f] = own
	return nil
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
	if own.bytes > mine && own.bytes+n > free {
		return fmt.Errorf("%w: this function's requests have %d bytes, and may have no more than is left to others", errBusy, own.bytes)
	}
	m.used += n
	own.bytes += n
	m.byFunction[f] = own
	return nil
}

// end lets a request go, with the n bytes that it took.
func (m *memory) end(f api.FunctionRef, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.byFunction[f]
	m.used -= n
	m.requests--
	own.bytes -= n
	if own.requests--; own.requests == 0 {
		delete(m.byFunction, f)
		return
	}
	m.byFunction[f] = own
}

// taken is how many bytes requests have now.
func (m *memory) taken() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}
