package server

import (
	"sync"

	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// running finds the request that a handler of another process is answering when
// it asks for a model: both have the same call id.
type running struct {
	mu    sync.Mutex
	calls map[string]sameID
}

// sameID are the requests with one call id. A client may give two requests the
// same; then it is not known which one a third is made for.
type sameID struct {
	call  *call.Call
	count int
}

// begin and end enclose the time that the handler has for c.
func (r *running) begin(c *call.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = make(map[string]sameID)
	}
	same := r.calls[c.ID]
	same.count++
	same.call = c
	r.calls[c.ID] = same
}

func (r *running) end(c *call.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := r.calls[c.ID]
	if same.count--; same.count == 0 {
		delete(r.calls, c.ID)
		return
	}
	same.call = nil // the other one may not be the last that began
	r.calls[c.ID] = same
}

// find returns the one request with this id, else nil.
func (r *running) find(id string) *call.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if same := r.calls[id]; same.count == 1 {
		return same.call
	}
	return nil
}
