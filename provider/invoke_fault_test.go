package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func TestInvokeClientLeaves(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	for _, length := range []int64{3, -1} {
		ctx, leave := context.WithCancel(t.Context())
		r := b.request(t, "POST", "/function/digits", strings.NewReader("abc")).WithContext(ctx)
		r.ContentLength = length
		done := make(chan error, 1)
		go func() { _, err := b.client.Do(r); done <- err }()
		<-arrived
		leave()
		<-gone // the function is told
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestInvokeReplicaDiesInItsAnswer(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, path := range []string{"/function/digits", "/function/digits/length"} {
		resp, err := b.client.Do(b.request(t, "GET", path, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "half" || err == nil {
			t.Errorf("%s: got %q, %v: half an answer looks like a whole one", path, body, err)
		}
	}
}

func TestInvokeReplicaDiesBeforeItsAnswer(t *testing.T) {
	var calls atomic.Int64
	dies := func(_ http.ResponseWriter, r *http.Request) { calls.Add(1); panic(http.ErrAbortHandler) }
	b := start(t, newFakeRuntime(replica(t, dies), replica(t, dies)))
	b.deployed(t, nil, 2)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "replica failed") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if calls.Load() != 1 {
		t.Errorf("a request that a handler had seen was sent %d times", calls.Load())
	}
}

// closedPort is an address that refuses connections.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestInvokeTriesAnotherReplica(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("abc"), io.LimitReader(zeros{}, 2<<20)} {
		b := start(t, newFakeRuntime(closedPort(t), replica(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		})))
		b.deployed(t, nil, 2)
		if resp, got := b.ask(t, b.request(t, "POST", "/function/digits", body)); resp.StatusCode != 200 || got == "0" {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
		if n := b.cfg.Dispatcher.Stats().Retries; n != 1 {
			t.Errorf("%d retries", n)
		}
	}
}

func TestInvokeNoReplicaReached(t *testing.T) {
	b := start(t, newFakeRuntime(closedPort(t), closedPort(t)))
	b.deployed(t, nil, 2)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "no replica could be reached") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestInvokeTimeout(t *testing.T) {
	brief := func(_ *Config, b *benchConfig) { b.upstream.Timeout = 20 * time.Millisecond }
	b := digits(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, brief)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("X-Duration-Seconds") == "" {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
}

// TestInvokeOwnTimeout gives a function the time that it was deployed with.
func TestInvokeOwnTimeout(t *testing.T) {
	brief := func(_ *Config, b *benchConfig) { b.upstream.Timeout = 20 * time.Millisecond }
	b := start(t, newFakeRuntime(replica(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(60 * time.Millisecond)
		io.WriteString(w, "late")
	})), brief)
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"write_timeout": "1m"} }, 1)
	if resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil)); resp.StatusCode != http.StatusOK || body != "late" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestInvokeQueueIsFull(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	one := func(_ *Config, b *benchConfig) { b.queue = 1 }
	b := start(t, newFakeRuntime(replica(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })), one)
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"max_inflight": "1"} }, 1)
	statuses := make(chan int, 2)
	for range 2 {
		go func() {
			resp, err := b.client.Get(b.url + "/function/digits")
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	<-arrived
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 1 })
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "queue is full") {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	close(release)
	if a, b := <-statuses, <-statuses; a != 200 || b != 200 {
		t.Errorf("the others got %d and %d", a, b)
	}
}

// until polls for something that other goroutines bring about.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 5s")
		}
	}
}

func TestInvokeWaitingClientWithUnreadBodyLeaves(t *testing.T) {
	b := start(t, newFakeRuntime())
	b.deployed(t, nil, 1) // no replica comes
	ctx, leave := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.client.Do(b.request(t, "POST", "/function/digits", pr).WithContext(ctx))
		done <- err
	}()
	pw.Write(make([]byte, 10<<10))
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 1 })
	leave()
	pw.CloseWithError(context.Canceled)
	<-done
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 0 })
}

func TestInvokeWakesFromZero(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "awake") })
	id := runtime.ID{Namespace: "openfaas-fn", Name: "digits"}
	b.rt.Scale(t.Context(), id, 0)
	if resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil)); resp.StatusCode != 200 || body != "awake" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestInvokeNotReadyInTime(t *testing.T) {
	brief := func(_ *Config, b *benchConfig) { b.wait = 20 * time.Millisecond }
	b := start(t, newFakeRuntime(), brief)
	b.deployed(t, nil, 1)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "20ms") {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
}
