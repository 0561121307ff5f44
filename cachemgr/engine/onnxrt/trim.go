package onnxrt

/*
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
// evictions is hundreds of megabytes. A trim walks everything that is free and
// holds malloc's locks meanwhile, so a burst of evictions shares one.
type trimmer struct {
	trim func()

	mu      sync.Mutex
	last    time.Time   // when the latest trim began
	pending *time.Timer // the next one, if it has been put off
	stopped bool
}

// trimEvery is the shortest time between two trims.
const trimEvery = 100 * time.Millisecond

func newTrimmer() *trimmer {
	return &trimmer{trim: func() { C.give_back() }}
}

// freed says that much memory has been freed. It trims now, or soon if it has
// just been done.
func (t *trimmer) freed() {
	if t.claim() {
		t.trim()
	}
}

// claim reports whether the caller has to trim now.
func (t *trimmer) claim() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || t.pending != nil {
		return false
	}
	if wait := trimEvery - time.Since(t.last); wait > 0 {
		t.pending = time.AfterFunc(wait, t.later)
		return false
	}
	t.last = time.Now()
	return true
}

// later is the trim that was put off.
func (t *trimmer) later() {
	t.mu.Lock()
	stopped := t.stopped
	t.pending, t.last = nil, time.Now()
	t.mu.Unlock()
	if !stopped {
		t.trim()
	}
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
