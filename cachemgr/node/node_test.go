package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestNodeServesAndRemembers(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a", "b", "c")
	config := s.config(e)
	config.Eviction = EvictLRU
	n := start(t, config)
	alice, bob := s.client(t, "alice"), s.client(t, "bob")
	bring(t, alice, "a", "b", "c")
	bring(t, bob, "a") // the node has the bytes: by proof
	for i, step := range []struct{ model, found string }{
		{"a", "load"}, {"a", "hit"}, {"b", "load"}, {"c", "load"}, {"a", "swap"}, {"c", "hit"}, {"b", "swap"},
	} {
		if found, err := s.infer(alice, step.model, []byte{1, 2, 3}); err != nil || found != step.found {
			t.Fatalf("step %d: %s is a %s, %v; want a %s", i, step.model, found, err, step.found)
		}
	}
	if _, err := s.infer(bob, "a", []byte{9}); err != nil {
		t.Error(err)
	}
	if _, err := s.infer(bob, "b", []byte{9}); !api.IsUnknownModel(err) {
		t.Errorf("another function's model: %v", err)
	}
	shutdown(t, n)
	if device, host := e.Bytes("cpu"); device != 0 || host != 0 {
		t.Errorf("%d bytes on the device, %d in the pool are left", device, host)
	}

	// A new process answers at once, without any offer.
	again := start(t, s.config(e))
	defer shutdown(t, again)
	if again.Epoch() == n.Epoch() {
		t.Error("the epoch is the same")
	}
	if found, err := s.infer(alice, "b", []byte{4}); err != nil || found != "load" {
		t.Errorf("after a restart b is a %s, %v", found, err)
	}
	if alice.Epoch() != again.Epoch() {
		t.Errorf("the client sees epoch %s, the node's is %s", alice.Epoch(), again.Epoch())
	}
}

func TestReferencesForgetFunctions(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a", "b")
	n := start(t, s.config(e))
	defer shutdown(t, n)
	alice, bob, provider := s.client(t, "alice"), s.client(t, "bob"), s.provider(t, n)
	bring(t, alice, "a")
	bring(t, bob, "a", "b")
	for c, names := range map[*api.Client][]string{alice: {"a"}, bob: {"a", "b"}} {
		for _, name := range names {
			if _, err := s.infer(c, name, []byte{1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	refs := api.References{Generation: 1, At: time.Now(), Functions: []api.FunctionRef{s.function(t, "alice")}}
	if err := provider.PutReferences(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	if _, err := s.infer(bob, "b", []byte{1}); !api.IsUnknownModel(err) {
		t.Errorf("a model of a function that is gone: %v", err)
	}
	if found, err := s.infer(alice, "a", []byte{1}); err != nil || found != "hit" {
		t.Errorf("the other function's model is a %s, %v", found, err)
	}
	waitFor(t, func() bool { device, _ := e.Bytes("cpu"); return device == 100 })
	var stale *api.Error
	refs.Generation = 0
	if err := provider.PutReferences(t.Context(), refs); !errors.As(err, &stale) || stale.Status != http.StatusConflict {
		t.Errorf("an old generation: %v", err)
	}
	refs.Generation, refs.Functions, refs.At = 2, nil, time.Now()
	if err := provider.PutReferences(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { device, host := e.Bytes("cpu"); return device == 0 && host == 0 })
}

func TestOutputsAreRightWhileModelsSwap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newSite(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	n := start(t, s.config(s.engine(t, names...)))
	defer shutdown(t, n)
	alice := s.client(t, "alice")
	bring(t, alice, names...)
	var clients sync.WaitGroup
	for worker := range uint64(8) {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, worker))
			for range 100 {
				x := make([]byte, 1+random.IntN(5000))
				for i := range x {
					x[i] = byte(random.Uint32())
				}
				if _, err := s.infer(alice, names[random.IntN(len(names))], x); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	status, err := alice.Cache(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var hits, misses, evictions int64
	for _, m := range status.Models {
		hits += m.Stats.Hits
		misses += m.Stats.Swaps + m.Stats.Loads
		evictions += m.Stats.Evictions
	}
	if hits+misses != 800 || evictions == 0 {
		t.Errorf("%d hits, %d misses, %d evictions", hits, misses, evictions)
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	running, proceed := make(chan struct{}), make(chan struct{})
	e.Before = func(_ context.Context, c testengine.Call) error {
		if c.Op == testengine.Run {
			close(running)
			<-proceed
		}
		return nil
	}
	n := start(t, s.config(e))
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	answered := make(chan error, 1)
	go func() {
		_, err := s.infer(alice, "a", []byte{1})
		answered <- err
	}()
	<-running
	ended := make(chan error, 1)
	go func() { ended <- n.Shutdown(context.Background()) }()
	waitFor(t, func() bool {
		ready, err := s.client(t, "probe").ServerReady(t.Context())
		return !ready || err != nil
	})
	close(proceed)
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	running := make(chan struct{})
	e.Before = func(ctx context.Context, c testengine.Call) error {
		if c.Op == testengine.Run {
			close(running)
			<-ctx.Done() // a model that never ends, but can be stopped
			return ctx.Err()
		}
		return nil
	}
	n := start(t, s.config(e))
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	answered := make(chan error, 1)
	go func() {
		_, err := s.infer(alice, "a", []byte{1})
		answered <- err
	}()
	<-running
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-answered; err == nil {
		t.Error("a request that never ends was answered")
	}
	if device, host := e.Bytes("cpu"); device != 0 || host != 0 {
		t.Errorf("%d bytes on the device, %d in the pool are left", device, host)
	}
}

func TestMetricsListener(t *testing.T) {
	s := newSite(t)
	n := start(t, s.config(s.engine(t, "a")))
	defer shutdown(t, n)
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	if _, err := s.infer(alice, "a", []byte{1}); err != nil {
		t.Fatal(err)
	}
	base := "http://" + n.Address("metrics").String()
	defer http.DefaultClient.CloseIdleConnections()
	for path, status := range map[string]int{
		"/metrics": 200, "/v2/health/live": 200, "/v2/health/ready": 200,
		api.RouteStatus: 401, "/v2/models/a": 404, "/": 404,
	} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != status {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, err)
		}
		if path == "/metrics" && !strings.Contains(string(body), `nv_inference_request_success{function="alice",model="a",namespace="ns",version="1"} 1`) {
			t.Errorf("metrics are %s", body)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	err := s.provider(t, n).WatchStatus(ctx, func(st api.NodeStatus) {
		if st.Full && len(st.Models) == 1 && st.Models[0].Bytes == 100 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("status: %v", err)
	}
}

func TestHeaderThatNeverComes(t *testing.T) {
	srv := newHTTPServer(http.NotFoundHandler(), Config{Log: slog.New(slog.DiscardHandler)})
	if srv.ReadHeaderTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
		t.Fatalf("connections are not bounded: %+v", srv)
	}
	srv.ReadHeaderTimeout = 20 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /v2/models/m/infer HT")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is held open")
	}
	srv.Close()
	<-served
}
