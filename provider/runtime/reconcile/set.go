package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Config of a Set.
type Config struct {
	Node   string              // in Replica.Node
	Tokens runtime.TokenSource // nil: functions get no tokens
	Log    *slog.Logger
}

// Set is the functions of a runtime.
type Set struct {
	config Config
	board  *board
	client *http.Client // for probes

	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // goroutines that watch a replica
	actors  sync.WaitGroup // Function.run
	stopped atomic.Bool    // Stop was called

	turn      chan struct{} // whoever put something in may change functions
	mu        sync.Mutex    // guards functions; held for a look-up only
	functions map[runtime.ID]*Function
}

// NewSet makes a set without functions.
func NewSet(config Config) *Set {
	s := &Set{
		config: config, board: newBoard(),
		turn: make(chan struct{}, 1), functions: map[runtime.ID]*Function{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.client = newProbeClient(s.ctx)
	return s
}

// Snapshot and Changed: see runtime.Observer.
func (s *Set) Snapshot() *runtime.Snapshot { return s.board.snapshot.Load() }

func (s *Set) Changed(old *runtime.Snapshot) <-chan struct{} { return s.board.after(old) }

// Context ends when the set is closed.
func (s *Set) Context() context.Context { return s.ctx }

// Get returns a function, nil if there is none.
func (s *Set) Get(id runtime.ID) *Function {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.functions[id]
}

// In returns the names of a namespace's functions, in order.
func (s *Set) In(namespace string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for id := range s.functions {
		if id.Namespace == namespace {
			names = append(names, id.Name)
		}
	}
	slices.Sort(names)
	return names
}

// InTurn runs one change of the functions at a time. Only changes wait for it.
func (s *Set) InTurn(ctx context.Context, change func() error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
	}
	if s.ctx.Err() != nil || s.stopped.Load() {
		return errors.New("the runtime is closed")
	}
	return change()
}

// Add shows a function and starts to make it as it is wanted. One that is wanted
// as deleted is not shown: its replicas end.
func (s *Set) Add(f *Function) {
	if w := f.want.Load(); !w.Deleted {
		s.mu.Lock()
		s.functions[f.id] = f
		s.mu.Unlock()
		s.board.add(f.public())
	}
	s.actors.Go(func() { f.run(s.ctx) })
}

// Remove makes a function's name free. Its replicas are drained.
func (s *Set) Remove(f *Function) {
	s.mu.Lock()
	delete(s.functions, f.id)
	s.mu.Unlock()
	s.board.remove(f.id)
	f.set(&Want{Deleted: true})
}

// Stop ends all replicas, waits until they have stopped or ctx ends, and closes
// the set. Functions stay wanted.
func (s *Set) Stop(ctx context.Context) error {
	s.stopped.Store(true)
	s.mu.Lock()
	for _, f := range s.functions {
		f.nudge()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.actors.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("replicas are still stopping: %w", ctx.Err())
	}
	s.Close()
	return err
}

// Close stops watching; replicas go on.
func (s *Set) Close() {
	s.cancel()
	// A change that is under way may still start a goroutine; none comes after it.
	s.turn <- struct{}{}
	<-s.turn
	s.actors.Wait()
	s.tasks.Wait()
	s.client.CloseIdleConnections()
}
