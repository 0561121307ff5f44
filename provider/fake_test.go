package provider

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"
	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRuntime keeps everything in memory; replicas are where the test says.
type fakeRuntime struct {
	mu      sync.Mutex
	present *runtime.Snapshot
	changed chan struct{}
	secrets map[string][]byte
	// namespaces in order of creation
	namespaces []runtime.Namespace
	urls       []string // of the replicas that a function gets
	lines      []logs.Message
	logErr     error
	uid        int
}

func newFakeRuntime(urls ...string) *fakeRuntime {
	return &fakeRuntime{
		present: &runtime.Snapshot{Functions: map[runtime.ID]*runtime.Function{}},
		changed: make(chan struct{}), secrets: map[string][]byte{}, urls: urls,
		namespaces: []runtime.Namespace{{Name: runtime.DefaultNamespace}, {Name: "lab"}},
	}
}

var _ runtime.Runtime = (*fakeRuntime)(nil)

func (f *fakeRuntime) Snapshot() *runtime.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.present
}

func (f *fakeRuntime) Changed(s *runtime.Snapshot) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s != f.present {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return f.changed
}

// change publishes a new snapshot; a change to nil removes the function.
func (f *fakeRuntime) change(id runtime.ID, change func(was *runtime.Function) (*runtime.Function, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := change(f.present.Functions[id])
	if err != nil {
		return err
	}
	next := &runtime.Snapshot{Generation: f.present.Generation + 1, Functions: maps.Clone(f.present.Functions)}
	if now == nil {
		delete(next.Functions, id)
	} else {
		next.Functions[id] = now
	}
	f.present = next
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

func (f *fakeRuntime) replicas(n int) []runtime.Replica {
	var out []runtime.Replica
	for i := range min(n, len(f.urls)) {
		out = append(out, runtime.Replica{ID: fmt.Sprint("r", i), Node: "here", URL: f.urls[i], Ready: true})
	}
	return out
}

func (f *fakeRuntime) Create(_ context.Context, d runtime.Deployment) error {
	return f.change(d.ID, func(was *runtime.Function) (*runtime.Function, error) {
		if was != nil {
			return nil, fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
		}
		if d.Request.Image == "missing" {
			return nil, fmt.Errorf("image missing: %w", runtime.ErrInvalid)
		}
		f.uid++
		return &runtime.Function{Deployment: d, UID: fmt.Sprint(f.uid), Revisions: []string{fmt.Sprint(f.uid)}, Desired: d.Replicas, Replicas: f.replicas(d.Replicas)}, nil
	})
}

func (f *fakeRuntime) Update(_ context.Context, d runtime.Deployment) error {
	return f.change(d.ID, func(was *runtime.Function) (*runtime.Function, error) {
		if was == nil {
			return nil, fmt.Errorf("function %s: %w", d.ID, runtime.ErrNotFound)
		}
		now := *was
		now.Deployment = d
		return &now, nil
	})
}

func (f *fakeRuntime) Scale(_ context.Context, id runtime.ID, n int) error {
	return f.change(id, func(was *runtime.Function) (*runtime.Function, error) {
		if was == nil {
			return nil, fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		now := *was
		now.Desired, now.Replicas = n, f.replicas(n)
		return &now, nil
	})
}

func (f *fakeRuntime) Delete(_ context.Context, id runtime.ID) error {
	return f.change(id, func(was *runtime.Function) (*runtime.Function, error) {
		if was == nil {
			return nil, fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		return nil, nil
	})
}

func (f *fakeRuntime) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	if f.logErr != nil {
		return f.logErr
	}
	for _, l := range f.lines {
		if err := emit(l); err != nil {
			return err
		}
	}
	if q.Follow {
		<-ctx.Done()
	}
	return nil
}

func (f *fakeRuntime) ListSecrets(_ context.Context, namespace string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.secrets)), nil
}

func (f *fakeRuntime) setSecret(name string, value []byte, exists bool, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.secrets[name]; ok != exists {
		return fmt.Errorf("secret %s: %w", name, err)
	}
	f.secrets[name] = value
	if value == nil {
		delete(f.secrets, name)
	}
	return nil
}

func (f *fakeRuntime) CreateSecret(_ context.Context, _, name string, value []byte) error {
	return f.setSecret(name, value, false, runtime.ErrExists)
}

func (f *fakeRuntime) UpdateSecret(_ context.Context, _, name string, value []byte) error {
	return f.setSecret(name, value, true, runtime.ErrNotFound)
}

func (f *fakeRuntime) DeleteSecret(_ context.Context, _, name string) error {
	return f.setSecret(name, nil, true, runtime.ErrNotFound)
}

func (f *fakeRuntime) ListNamespaces(context.Context) ([]runtime.Namespace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.namespaces), nil
}

// setNamespace replaces the namespace that was there, or err; by none if n is nil.
func (f *fakeRuntime) setNamespace(name string, n *runtime.Namespace, exists bool, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.namespaces, func(n runtime.Namespace) bool { return n.Name == name })
	if (i >= 0) != exists {
		return err
	}
	if i >= 0 {
		f.namespaces = slices.Delete(f.namespaces, i, i+1)
	}
	if n != nil {
		f.namespaces = append(f.namespaces, *n)
	}
	return nil
}

func (f *fakeRuntime) CreateNamespace(_ context.Context, n runtime.Namespace) error {
	return f.setNamespace(n.Name, &n, false, runtime.ErrExists)
}

func (f *fakeRuntime) UpdateNamespace(_ context.Context, n runtime.Namespace) error {
	return f.setNamespace(n.Name, &n, true, runtime.ErrNotFound)
}

func (f *fakeRuntime) DeleteNamespace(_ context.Context, name string) error {
	for id := range f.Snapshot().Functions {
		if id.Namespace == name {
			return fmt.Errorf("namespace %s: %w", name, runtime.ErrInUse)
		}
	}
	return f.setNamespace(name, nil, true, runtime.ErrNotFound)
}

func (f *fakeRuntime) Info() runtime.Info {
	return runtime.Info{Orchestration: "fake", Warnings: []string{"development only"}, Unenforced: []string{"memory: no cgroups"}}
}

func (f *fakeRuntime) Close() error { return nil }

// bench is a provider on a listener, with everything that a test may change.
type bench struct {
	*Provider
	rt     *fakeRuntime
	url    string
	client *http.Client
}

type option func(*Config, *benchConfig)

type benchConfig struct {
	queue    int
	wait     time.Duration
	upstream upstream.Config
}

func start(t testing.TB, rt *fakeRuntime, options ...option) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := Config{Runtime: rt, Log: log}
	b := benchConfig{queue: 2, wait: 10 * time.Second, upstream: upstream.Config{
		DialTimeout: time.Second, Timeout: 10 * time.Second, IdleTimeout: time.Minute, MaxIdle: 16,
	}}
	for _, o := range options {
		o(&cfg, &b)
	}
	cfg.Upstream = upstream.New(b.upstream)
	cfg.Dispatcher = dispatch.New(dispatch.Config{Runtime: rt, Scheduler: sched.NewLeastInFlight(b.queue), Wait: b.wait, WakeFromZero: true, Log: log})
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { cfg.Dispatcher.Run(ctx) })
	server := httptest.NewUnstartedServer(p)
	server.Config.ConnContext = ConnContext
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		cancel()
		running.Wait()
		cfg.Dispatcher.Close()
		cfg.Upstream.Close()
	})
	return &bench{Provider: p, rt: rt, url: server.URL, client: server.Client()}
}

func withCredentials(c *Config, _ *benchConfig) {
	c.Credentials = &auth.BasicAuthCredentials{User: "admin", Password: "secret"}
}

// deployed makes a function digits with the given replicas.
func (b *bench) deployed(t testing.TB, change func(*types.FunctionDeployment), replicas int) {
	t.Helper()
	d := types.FunctionDeployment{Service: "digits", Namespace: "openfaas-fn", Image: "digits"}
	if change != nil {
		change(&d)
	}
	id := runtime.ID{Namespace: d.Namespace, Name: d.Service}
	if err := b.rt.Create(t.Context(), runtime.Deployment{ID: id, Request: d, Replicas: replicas}); err != nil {
		t.Fatal(err)
	}
}
