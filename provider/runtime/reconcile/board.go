package reconcile

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// board holds the present snapshot.
type board struct {
	mu       sync.Mutex // held by writers, for as long as a map takes to copy
	snapshot atomic.Pointer[runtime.Snapshot]
	changed  chan struct{} // closed when the present snapshot is replaced
}

func newBoard() *board {
	b := &board{changed: make(chan struct{})}
	b.snapshot.Store(&runtime.Snapshot{Functions: map[runtime.ID]*runtime.Function{}})
	return b
}

// change replaces a function by what edit makes of a copy of it. A function that
// is no longer there, or another of the same name, is left alone.
func (b *board) change(id runtime.ID, uid string, edit func(*runtime.Function)) {
	b.publish(func(functions map[runtime.ID]*runtime.Function) bool {
		old := functions[id]
		if old == nil || old.UID != uid {
			return false
		}
		f := *old
		edit(&f)
		functions[id] = &f
		return true
	})
}

func (b *board) add(f *runtime.Function) {
	b.publish(func(functions map[runtime.ID]*runtime.Function) bool {
		functions[f.Deployment.ID] = f
		return true
	})
}

func (b *board) remove(id runtime.ID) {
	b.publish(func(functions map[runtime.ID]*runtime.Function) bool {
		delete(functions, id)
		return true
	})
}

func (b *board) publish(edit func(map[runtime.ID]*runtime.Function) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.snapshot.Load()
	next := &runtime.Snapshot{Generation: old.Generation + 1, Functions: maps.Clone(old.Functions)}
	if !edit(next.Functions) {
		return
	}
	b.snapshot.Store(next)
	close(b.changed)
	b.changed = make(chan struct{})
}

// after is closed when there is a snapshot newer than s.
func (b *board) after(s *runtime.Snapshot) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s != b.snapshot.Load() {
		past := make(chan struct{})
		close(past)
		return past
	}
	return b.changed
}
