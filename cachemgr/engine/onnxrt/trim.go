package onnxrt

/*
#include <stdlib.h> // says which C library this is
#ifdef __GLIBC__
#include <malloc.h>
static int give_back(void) { return malloc_trim(0); }
#else
static int give_back(void) { return 0; } // other C libraries keep little
#endif
*/
import "C"

import (
	"sync"
	"time"
)

// trimmer gives memory that the C library keeps after a free back to the system.
// glibc keeps what lies between blocks still in use, which after some tens of
// evictions is hundreds of megabytes. A trim takes some milliseconds, in which it
// holds malloc's locks, and what it gave back has to be faulted in again; so it
// happens off the path of requests, and a burst of evictions shares one.
type trimmer struct {
	trim func()

	mu      sync.Mutex
	pending *time.Timer // nil: none is due
	stopped bool
}

// trimAfter is how long freed memory may stay with the C library.
const trimAfter = 100 * time.Millisecond

func newTrimmer() *trimmer {
	return &trimmer{trim: func() { C.give_back() }}
}

// freed says that much memory has been freed.
func (t *trimmer) freed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil && !t.stopped {
		t.pending = time.AfterFunc(trimAfter, t.due)
	}
}

func (t *trimmer) due() {
	t.mu.Lock()
	t.pending = nil
	t.mu.Unlock()
	t.trim()
}

// stop trims once more, and never again.
func (t *trimmer) stop() {
	t.mu.Lock()
	t.stopped = true
	if t.pending != nil {
		t.pending.Stop()
	}
	t.mu.Unlock()
	t.trim()
}
