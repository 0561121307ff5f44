package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openfaas/faas-provider/types"
	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var digits = runtime.ID{Namespace: "openfaas-fn", Name: "digits"}

// fake is a runtime that does what the test says.
type fake struct {
	mu      sync.Mutex
	present *runtime.Snapshot
	changed chan struct{}
	scaled  []int
	fail    error
	gate    chan struct{} // if set, Scale waits for it before it fails or not
}

func newFake() *fake {
	return &fake{present: &runtime.Snapshot{Functions: map[runtime.ID]*runtime.Function{}}, changed: make(chan struct{})}
}

func (f *fake) Snapshot() *runtime.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.present
}

func (f *fake) Changed(s *runtime.Snapshot) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s != f.present {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return f.changed
}

func (f *fake) Scale(_ context.Context, id runtime.ID, n int) error {
	f.mu.Lock()
	f.scaled = append(f.scaled, n)
	err, gate := f.fail, f.gate
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err == nil {
		f.set(id, func(fn *runtime.Function) { fn.Desired = n })
	}
	return err
}

// set publishes a snapshot with id changed; a nil change removes it.
func (f *fake) set(id runtime.ID, change func(*runtime.Function)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := &runtime.Snapshot{Generation: f.present.Generation + 1, Functions: maps.Clone(f.present.Functions)}
	if change == nil {
		delete(next.Functions, id)
	} else {
		fn := runtime.Function{UID: "1", Revisions: []string{"r1"}, Deployment: runtime.Deployment{ID: id, Request: types.FunctionDeployment{
			Service: id.Name, Namespace: id.Namespace, Image: "i",
		}}}
		if was := next.Functions[id]; was != nil {
			fn = *was
		}
		change(&fn)
		next.Functions[id] = &fn
	}
	f.present = next
	close(f.changed)
	f.changed = make(chan struct{})
}

func readyReplicas(ids ...string) func(*runtime.Function) {
	return func(f *runtime.Function) {
		f.Desired, f.Replicas = len(ids), nil
		for _, id := range ids {
			f.Replicas = append(f.Replicas, runtime.Replica{ID: id, Node: "here", URL: "http://" + id + ":8080", Ready: true})
		}
	}
}

// capacity gives a function max_inflight.
func capacity(n string) func(*runtime.Function) {
	return func(f *runtime.Function) { f.Deployment.Request.EnvVars = map[string]string{"max_inflight": n} }
}

// play runs a test with a running Dispatcher in a bubble of its own time.
func play(t *testing.T, test func(t *testing.T, rt *fake, d *Dispatcher)) {
	synctest.Test(t, func(t *testing.T) {
		rt := newFake()
		d := New(Config{Runtime: rt, Scheduler: sched.NewLeastInFlight(2), Wait: 30 * time.Second, WakeFromZero: true, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) })
		test(t, rt, d)
		cancel()
		running.Wait()
		d.Close()
	})
}

// acquire asks for a replica of digits.
func acquire(t *testing.T, d *Dispatcher, ctx context.Context) (Lease, error) {
	t.Helper()
	f, ok := d.Lookup(digits)
	if !ok {
		t.Fatal("digits is unknown")
	}
	return d.Acquire(ctx, f, Want{})
}

// later is acquire in the background.
func later(t *testing.T, d *Dispatcher, ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() {
		l, err := acquire(t, d, ctx)
		l.Done()
		done <- err
	}()
	synctest.Wait()
	return done
}
