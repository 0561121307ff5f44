package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// front answers each request in the way of the present stage.
type front struct {
	stage atomic.Pointer[stage]

	mu    sync.Mutex
	calls int           // under way that need the runtime
	idle  chan struct{} // closed when there is none, while a stage holds them
}

// stage is a way to answer.
type stage struct {
	handler http.Handler
	// holds lets requests that need the runtime wait for the next stage.
	holds bool
	next  chan struct{} // closed when the next stage is shown
}

func newFront() *front {
	f := &front{}
	f.stage.Store(&stage{next: make(chan struct{})})
	return f
}

// show begins a stage.
func (f *front) show(st stage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st.next = make(chan struct{})
	close(f.stage.Swap(&st).next)
}

// hold lets requests that need the runtime wait, and returns once none is under
// way or ctx has ended.
func (f *front) hold(ctx context.Context) {
	f.show(stage{handler: f.stage.Load().handler, holds: true})
	f.mu.Lock()
	idle := make(chan struct{})
	if f.calls == 0 {
		close(idle)
	} else {
		f.idle = idle
	}
	f.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := f.stage.Load()
	if !needsRuntime(r) {
		st.handler.ServeHTTP(w, r)
		return
	}
	for {
		var entered bool
		if st, entered = f.enter(); entered {
			break
		}
		select {
		case <-st.next:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // to return would be to answer 200
		}
	}
	defer f.leave()
	st.handler.ServeHTTP(w, r)
}

// needsRuntime is whether a request cannot be answered with what is known.
func needsRuntime(r *http.Request) bool {
	switch {
	case strings.HasPrefix(r.URL.Path, "/function/"):
		return false
	case strings.HasPrefix(r.URL.Path, "/system/logs"):
		return true
	}
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

func (f *front) enter() (*stage, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.stage.Load()
	if st.holds {
		return st, false
	}
	f.calls++
	return st, true
}

func (f *front) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls--
	if f.calls == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}
