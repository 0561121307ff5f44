package shm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/server"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

// manager has one model, which inverts bytes: n at a time, or as many as there are
// where n is -1.
type manager struct {
	server.Manager // what is not needed here
	n              int64
	quick          bool // it computes nothing

	shared atomic.Int64 // requests with shared memory
	total  atomic.Int64
	gate   atomic.Pointer[chan struct{}] // if set, received from before an answer
}

func (m *manager) Infer(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
	m.total.Add(1)
	if r.Shared {
		m.shared.Add(1)
	}
	if gate := m.gate.Load(); gate != nil {
		<-*gate
	}
	out := &r.Out[0]
	if out.Data == nil {
		out.Data, out.Shape = make([]byte, len(r.In[0].Data)), r.In[0].Shape
	}
	if !m.quick {
		for i, b := range r.In[0].Data {
			out.Data[i] = ^b
		}
	}
	return cachemgr.Result{Outcome: api.CacheHit, Engine: "test", Device: "cpu"}, nil
}

func (m *manager) Spec(context.Context, string) (engine.Spec, error) {
	spec := func(name string) []tensor.Spec {
		return []tensor.Spec{{Name: name, Datatype: tensor.Uint8, Shape: []int64{m.n}}}
	}
	return engine.Spec{Known: true, Inputs: spec("x"), Outputs: spec("y"), Concurrency: 8}, nil
}

func (m *manager) Add(cachemgr.Model) error     { return nil }
func (m *manager) Forget(string) error          { return nil }
func (m *manager) Pin(string, bool) error       { return nil }
func (m *manager) Ready(string) error           { return nil }
func (m *manager) Status() cachemgr.Status      { return cachemgr.Status{} }
func (m *manager) Changed(uint64) chan struct{} { return make(chan struct{}) }

// Manager's method has another type of channel.
type observed struct{ *manager }

func (o observed) Changed(after uint64) <-chan struct{} { return o.manager.Changed(after) }

// node is a cache manager that can be stopped and started again.
type node struct {
	testing.TB
	*manager
	dir    string
	limits server.Limits
	server *server.Server
	stop   func()
}

func startNode(t testing.TB, n int64, limits server.Limits) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "shm") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &node{TB: t, manager: &manager{n: n}, dir: dir, limits: limits}
	s.start(true)
	t.Cleanup(func() {
		s.stop()
		os.RemoveAll(dir)
	})
	return s
}

// start serves the protocol and, if it is wished, the socket for shared memory.
func (s *node) start(sharing bool) {
	s.Helper()
	models, err := store.Open(store.Config{Dir: filepath.Join(s.dir, "store"), Quota: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.Fatal(err)
	}
	s.server, err = server.New(server.Config{
		Manager: observed{s.manager}, Store: models, Auth: server.Everybody{}, Log: slog.New(slog.DiscardHandler), Limits: s.limits,
	})
	if err != nil {
		s.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(s.dir, api.SocketOIP))
	if err != nil {
		s.Fatal(err)
	}
	h := &http.Server{Handler: s.server}
	var serving sync.WaitGroup
	serving.Go(func() { h.Serve(l) })
	stopSharing := func() {}
	if sharing {
		l, err := net.Listen(shm.Network, filepath.Join(s.dir, api.SocketShm))
		if err != nil {
			s.Fatal(err)
		}
		regions := s.server.SharedMemoryServer(func(net.Conn) bool { return true }, func(net.Conn) {})
		serving.Go(func() { regions.Serve(l) })
		stopSharing = func() {
			regions.Close()
			l.Close()
		}
	}
	s.stop = func() {
		h.Close()
		stopSharing()
		serving.Wait()
		s.server.Close()
		models.Close()
	}
}

// client has the model "m" known to the node.
func (s *node) client(limit int64, log *slog.Logger) *shm.Client {
	s.Helper()
	return s.clientThatKeeps(0, limit, log)
}

func (s *node) clientThatKeeps(keep time.Duration, limit int64, log *slog.Logger) *shm.Client {
	s.Helper()
	plain, err := api.NewClient(api.ClientConfig{Address: filepath.Join(s.dir, api.SocketOIP)})
	if err != nil {
		s.Fatal(err)
	}
	file := []byte("a model")
	sum := sha256.Sum256(file)
	offer := api.Offer{Name: "m", Version: "1", Format: "onnx", Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(file))}
	_, err = plain.Offer(s.Context(), api.OfferRequest{Models: []api.Offer{offer}}, func(api.Offer) (api.File, error) {
		return reader{bytes.NewReader(file)}, nil
	})
	if err != nil {
		s.Fatal(err)
	}
	c := shm.NewClient(plain, shm.Options{
		Socket: filepath.Join(s.dir, api.SocketShm), Token: func() string { return "" }, Limit: limit, Keep: keep, Log: log,
	})
	s.Cleanup(func() {
		c.Close()
		plain.Close()
	})
	return c
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

var quiet = slog.New(slog.DiscardHandler)

// infer runs the model on n bytes, other ones each time, and checks what it gives.
func infer(ctx context.Context, c *shm.Client, n int, outputs ...oip.Output) error {
	x := make([]byte, n)
	for i, k := 0, rand.IntN(1<<20); i < n; i++ {
		x[i] = byte((i + k) * k >> 8)
	}
	resp, _, err := c.Infer(ctx, api.Call{Model: "m"}, &oip.Request{
		Inputs:  []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{int64(n)}, Data: x}},
		Outputs: outputs, BinaryOutputs: true,
	})
	if err != nil {
		return err
	}
	defer resp.Release()
	y := resp.Output("y")
	if y == nil || len(y.Data) != n || len(resp.Places) != 0 {
		return errors.New("there is no output")
	}
	for i := range x {
		if y.Data[i] != ^x[i] {
			return errors.New("the output is wrong")
		}
	}
	return nil
}

func (s *node) want(shared, total int64) {
	s.Helper()
	if s.shared.Load() != shared || s.total.Load() != total {
		s.Errorf("%d of %d requests were in shared memory, want %d of %d", s.shared.Load(), s.total.Load(), shared, total)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that in 20 s")
		}
	}
}
