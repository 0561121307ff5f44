package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeManager knows models and answers as its infer says.
type fakeManager struct {
	spec  engine.Spec
	infer func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error)

	mu      sync.Mutex
	status  cachemgr.Status
	changed chan struct{}
	loads   []string
	specErr error
	specs   int
	addErr  error
	refusal error // of Ready
	loadErr error
}

// doubling is a model that gives y = 2x for four floats.
var doubling = engine.Spec{
	Known:       true,
	Inputs:      []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: []int64{4}}},
	Outputs:     []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{4}}},
	Concurrency: 1,
}

func newFakeManager() *fakeManager {
	return &fakeManager{
		spec:  doubling,
		infer: double,
		status: cachemgr.Status{
			Generation: 1,
			Devices:    []api.DeviceStatus{{ID: "cpu", Name: "CPU", Kind: "cpu", Engine: "fake", Budget: 1000}},
			Host:       api.PoolStatus{Budget: 5000},
			Models:     map[string]cachemgr.ModelState{},
		},
		changed: make(chan struct{}),
	}
}

// double is the hit of a model that gives twice its input, in FP32.
func double(_ context.Context, r cachemgr.Request) (cachemgr.Result, error) {
	for i := range r.Out {
		if r.Out[i].Data == nil {
			r.Out[i].Data = make([]byte, len(r.In[0].Data))
			r.Out[i].Shape = r.In[0].Shape
		}
		for at, v := range floats(r.In[0].Data) {
			copy(r.Out[i].Data[4*at:], floatBytes(2*v))
		}
	}
	return cachemgr.Result{
		Outcome: api.CacheHit, Device: "cpu", Engine: "fake",
		Queue: 2 * time.Microsecond, Compute: 30 * time.Microsecond,
		Batch: 1, Lead: true,
	}, nil
}

func (m *fakeManager) Infer(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
	return m.infer(ctx, r)
}

func (m *fakeManager) Spec(context.Context, string) (engine.Spec, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.specs++
	return m.spec, m.specErr
}

func (m *fakeManager) Ready(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refusal
}

// change alters the status and wakes those who watch.
func (m *fakeManager) change(f func(models map[string]cachemgr.ModelState)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	models := maps.Clone(m.status.Models)
	f(models)
	m.status.Models = models
	m.status.Generation++
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *fakeManager) Add(model cachemgr.Model) error {
	if m.addErr != nil {
		return m.addErr
	}
	m.change(func(models map[string]cachemgr.ModelState) {
		models[model.Digest] = cachemgr.ModelState{Estimated: true}
	})
	return nil
}

func (m *fakeManager) Forget(digest string) error {
	m.change(func(models map[string]cachemgr.ModelState) { delete(models, digest) })
	return nil
}

func (m *fakeManager) Pin(digest string, on bool) error {
	m.change(func(models map[string]cachemgr.ModelState) {
		state := models[digest]
		state.Pinned = on
		models[digest] = state
	})
	return nil
}

func (m *fakeManager) Load(_ context.Context, digest string, _ engine.DeviceID) error {
	m.mu.Lock()
	err := m.loadErr
	m.mu.Unlock()
	if err != nil {
		return err
	}
	m.change(func(models map[string]cachemgr.ModelState) {
		m.loads = append(m.loads, digest)
		m.spec.Known = true
		state := models[digest]
		state.Instances = []api.InstanceStatus{{Device: "cpu", State: api.StateResident}}
		models[digest] = state
	})
	return nil
}

func (m *fakeManager) loadFails(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loadErr = err
}

func (m *fakeManager) Unload(_ context.Context, digest string) error {
	m.change(func(models map[string]cachemgr.ModelState) {
		state := models[digest]
		state.Instances = nil
		models[digest] = state
	})
	return nil
}

func (m *fakeManager) Status() cachemgr.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *fakeManager) Changed(after uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status.Generation > after {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return m.changed
}

func (m *fakeManager) loaded() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.loads)
}

// floats is FP32 data as numbers.
func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// floatBytes is numbers as FP32 data.
func floatBytes(values ...float32) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	st, err := store.Open(store.Config{Dir: dir, Quota: 1 << 20, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// serveFor runs a server until the test ends.
func serveFor(t *testing.T, c Config) (*Server, *httptest.Server) {
	t.Helper()
	c.Log = discard()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Drain()
		http.DefaultClient.CloseIdleConnections()
		h.Close()
		s.Close()
	})
	return s, h
}

// newServer is a server of one user with the given manager; its model "twice",
// version 1, is known.
func newServer(t *testing.T, m *fakeManager, limits Limits) (*Server, *httptest.Server) {
	t.Helper()
	s, h := serveFor(t, Config{
		Manager: m, Store: openStore(t, t.TempDir()), Auth: Everybody{},
		Node: "n1", Version: "test", Platform: "fake_onnx", Limits: limits,
	})
	addModel(t, s, api.FunctionRef{}, "twice", "1")
	return s, h
}

// content is the file of a model in tests.
func content(name, version string) []byte { return []byte("file of " + name + " " + version) }

// offerOf is the offer of a model whose file is content.
func offerOf(name, version string) api.Offer {
	file := content(name, version)
	return api.Offer{Name: name, Version: version, Format: "onnx", Digest: digestOf(file), Size: int64(len(file))}
}

// addModel registers a model without the dance of an offer.
func addModel(t testing.TB, s *Server, ref api.FunctionRef, name, version string) {
	t.Helper()
	o := offerOf(name, version)
	ctx := context.Background()
	err := s.store.Put(ctx, o.Digest, o.Size, bytes.NewReader(content(name, version)))
	if err == nil {
		err = s.store.Register(ctx, ref, time.Now(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	if refused := s.catalog.follow(ref); refused != nil {
		t.Fatal(refused)
	}
}

// send makes one request and returns the answer with its body.
func send(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp, string(readAll(t, resp.Body))
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b)
}
