package onnxrt

/*
#include <stdlib.h> // says which C library this is
#ifdef __GLIBC__
#include <malloc.h>

// All threads allocate from one arena. glibc would give each thread its own, Go
// moves work between threads, and every arena would end up with holes as large as
// the largest model. The price is a shared lock for some tens of requests a run.
// It has to be said before the first thread begins, so no Go code is early enough.
__attribute__((constructor)) static void one_arena(void) { mallopt(M_ARENA_MAX, 1); }

static void give_back(void) { malloc_trim(0); }
#else
static void give_back(void) {} // other C libraries keep little
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
	busy sync.Mutex // held while trimming; taken before mu

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
	t.busy.Lock()
	defer t.busy.Unlock()
	t.mu.Lock()
	t.pending = nil
	t.mu.Unlock() // what is freed from here on asks for another trim
	t.trim()
}

// stop trims once more, and never again.
func (t *trimmer) stop() {
	t.busy.Lock()
	defer t.busy.Unlock()
	t.mu.Lock()
	t.stopped = true
	if t.pending != nil {
		t.pending.Stop()
	}
	t.mu.Unlock()
	t.trim()
}
