package variant

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/build"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// batched is a model of rows of two numbers, at most most of them; 0: fixed.
func batched(most int) engine.Spec {
	shape := []int64{-1, 2}
	return engine.Spec{
		Known: true, MaxBatch: most, Concurrency: 1,
		Inputs:  []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: shape}},
		Outputs: []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: shape}},
	}
}

// fakeManager knows models and answers as a test says.
type fakeManager struct {
	name string
	spec engine.Spec

	mu      sync.Mutex
	models  map[string]bool // known, and whether it is pinned
	loads   []string
	fail    error // of Infer and Load
	onLoad  func()
	specErr error
	got     cachemgr.Request
	number  uint64
	changed chan struct{}
}

func newFake(name string, spec engine.Spec) *fakeManager {
	return &fakeManager{name: name, spec: spec, models: map[string]bool{}, number: 1, changed: make(chan struct{})}
}

// do changes the manager.
func (m *fakeManager) do(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	m.number++
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *fakeManager) Infer(_ context.Context, r cachemgr.Request) (res cachemgr.Result, err error) {
	m.do(func() {
		m.got = r
		_, known := m.models[r.Digest]
		switch {
		case !known:
			err = cachemgr.ErrUnknownModel
		case m.fail != nil:
			err = m.fail
		}
	})
	return cachemgr.Result{Outcome: api.CacheHit, Device: engine.DeviceID(m.name), Engine: m.name}, err
}

func (m *fakeManager) Spec(_ context.Context, digest string) (engine.Spec, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.models[digest]; !known {
		return engine.Spec{}, cachemgr.ErrUnknownModel
	}
	return m.spec, m.specErr
}

func (m *fakeManager) Ready(digest string) error {
	_, err := m.Spec(context.Background(), digest)
	return err
}

func (m *fakeManager) Add(add cachemgr.Model) error {
	m.do(func() { m.models[add.Digest] = m.models[add.Digest] })
	return nil
}

func (m *fakeManager) Forget(digest string) error {
	m.do(func() { delete(m.models, digest) })
	return nil
}

func (m *fakeManager) Pin(digest string, on bool) error {
	m.do(func() { m.models[digest] = on })
	return nil
}

func (m *fakeManager) Load(_ context.Context, digest string, _ engine.DeviceID) (err error) {
	if m.onLoad != nil {
		m.onLoad()
	}
	m.do(func() {
		m.loads = append(m.loads, digest)
		err = m.fail
	})
	return err
}

func (m *fakeManager) Unload(_ context.Context, digest string) error {
	m.do(func() { m.loads = slices.DeleteFunc(m.loads, func(l string) bool { return l == digest }) })
	return nil
}

func (m *fakeManager) Status() cachemgr.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := cachemgr.Status{
		Generation: m.number, Devices: []api.DeviceStatus{{ID: m.name}}, Host: api.PoolStatus{Budget: 100, Used: 10},
		Models: map[string]cachemgr.ModelState{},
	}
	for key, pinned := range m.models {
		of := cachemgr.ModelState{Pinned: pinned, Bytes: int64(len(m.name)), Stats: api.CacheStats{Hits: 1, LastUsed: m.name}}
		if slices.Contains(m.loads, key) {
			of.Staged = true
			of.Instances = []api.InstanceStatus{{Device: m.name, State: api.StateResident}}
		}
		st.Models[key] = of
	}
	return st
}

func (m *fakeManager) Changed(after uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.number > after {
		now := make(chan struct{})
		close(now)
		return now
	}
	return m.changed
}

// keys are the models that a manager knows.
func (m *fakeManager) keys() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(m.models)), " ")
}

func (m *fakeManager) setFail(err error) { m.do(func() { m.fail = err }) }

// fakeBuilder builds when the test lets it.
type fakeBuilder struct {
	let chan error // one result for each build

	mu     sync.Mutex
	proven map[string]int // rows by plan
	inUse  map[string]bool
	builds int
	gone   []string // discarded
}

func newBuilder() *fakeBuilder {
	return &fakeBuilder{let: make(chan error), proven: map[string]int{}, inUse: map[string]bool{}}
}

func (b *fakeBuilder) Build(ctx context.Context, w build.Want, report func(build.Progress)) (build.Plan, error) {
	id := fmt.Sprintf("%s-%s-%d", w.Digest, w.Precision, w.Batch)
	b.mu.Lock()
	rows, known := b.proven[id]
	b.mu.Unlock()
	p := build.Plan{ID: id, Path: "plans/" + id, Size: 1, Proven: known, Rows: rows}
	if !known {
		report(build.Progress{Phase: build.PhaseBuild, Fraction: 0.5})
		select {
		case err := <-b.let:
			if err != nil {
				return build.Plan{}, err
			}
		case <-ctx.Done():
			return build.Plan{}, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.builds++
	b.inUse[id] = true
	return p, nil
}

func (b *fakeBuilder) Prove(p build.Plan) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proven[p.ID] = p.Rows
	return nil
}

func (b *fakeBuilder) Release(p build.Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inUse, p.ID)
}

func (b *fakeBuilder) Discard(p build.Plan) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.inUse, p.ID)
	delete(b.proven, p.ID)
	b.gone = append(b.gone, p.ID)
	return nil
}

// rig is a router over fakes.
type rig struct {
	*testing.T
	*Router
	cpu, gpu *fakeManager
	builder  *fakeBuilder
}

// inBubble runs a test in which time passes only when all wait.
func inBubble(t *testing.T, test func(r *rig), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, cpu: newFake("cpu", batched(-1)), gpu: newFake("gpu", batched(4)), builder: newBuilder()}
		c := Config{
			CPU: r.cpu, GPU: r.gpu, Builder: r.builder, Device: "gpu", QueueDepth: 2,
			RetryMin: 10 * time.Second, RetryMax: time.Minute, Log: slog.New(slog.DiscardHandler),
		}
		for _, f := range change {
			f(&c)
		}
		var err error
		if r.Router, err = New(c); err != nil {
			t.Fatal(err)
		}
		test(r)
		r.Close()
		if len(r.builder.inUse) > 0 {
			t.Errorf("plans %v are still in use", r.builder.inUse)
		}
	})
}

func (r *rig) add(digest string, terms cachemgr.Terms) {
	r.Helper()
	if err := r.Add(cachemgr.Model{Digest: digest, Name: digest, Path: digest, Format: engine.FormatONNX, Terms: terms}); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
}

// let ends the build that goes on.
func (r *rig) let(err error) {
	r.builder.let <- err
	synctest.Wait()
}

func request(digest string, rows int64, terms cachemgr.Terms) cachemgr.Request {
	return cachemgr.Request{
		Digest: digest, Terms: terms, MaxBatch: 100,
		In: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{rows, 2}}},
	}
}

// want runs a request that must be answered by an engine.
func (r *rig) want(digest, engine string, terms cachemgr.Terms) cachemgr.Result {
	r.Helper()
	res, err := r.Infer(r.Context(), request(digest, 1, terms))
	if err != nil || res.Engine != engine || (res.Outcome == api.CacheFallback) != (engine == "cpu") {
		r.Errorf("%+v, %v, want the answer of %s", res, err, engine)
	}
	return res
}

// instance is what is shown of a model on the GPU.
func (r *rig) instance(digest string) api.InstanceStatus {
	for _, i := range r.Status().Models[digest].Instances {
		if i.Device == "gpu" {
			return i
		}
	}
	return api.InstanceStatus{}
}
