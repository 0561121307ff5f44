package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server that runs.
type fixture struct {
	*Server
	url     string
	lines   *lines
	reg     *prometheus.Registry
	client  *http.Client
	stop    func()        // as the first SIGTERM
	force   chan struct{} // closed as the second
	stopped chan struct{} // closed when Run has returned
}

type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Line(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(text))
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// start serves h with the environment given.
func start(t *testing.T, h http.HandlerFunc, environ ...string) *fixture {
	return startWith(t, Options{Function: h}, environ...)
}

func startWith(t *testing.T, o Options, environ ...string) *fixture {
	t.Helper()
	cfg, err := config.Read(append([]string{"TMPDIR=" + t.TempDir()}, environ...), config.InProcess)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{url: "http://" + ln.Addr().String(), lines: &lines{}, reg: prometheus.NewRegistry(),
		client: &http.Client{Transport: &http.Transport{}}, force: make(chan struct{}), stopped: make(chan struct{})}
	o.Config, o.Lines, o.Registry = cfg, f.lines, f.reg
	o.Log = slog.New(slog.NewTextHandler(f.lines.writer(), nil))
	f.Server = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	go func() {
		defer close(f.stopped)
		if err := f.Run(ctx, ln, f.force); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		f.client.CloseIdleConnections()
		<-f.stopped
	})
	f.await(t, "/_/health", http.StatusOK)
	return f
}

func (l *lines) writer() io.Writer { return lineWriter{l} }

type lineWriter struct{ l *lines }

func (w lineWriter) Write(p []byte) (int, error) {
	w.l.Line(p)
	return len(p), nil
}

func (f *fixture) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", f.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (f *fixture) await(t *testing.T, path string, status int) string {
	t.Helper()
	return poll(t, func() (string, bool) {
		resp, err := f.client.Get(f.url + path)
		if err != nil {
			return err.Error(), false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%s: %s", resp.Status, body), resp.StatusCode == status
	})
}

// poll asks until the answer is right.
func poll(t *testing.T, ask func() (string, bool)) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		last, ok := ask()
		if ok {
			return last
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", last)
		}
	}
}

// serve asks a handler without a server.
func serve(h http.Handler, method, path string) string {
	var b strings.Builder
	w := &recorder{header: http.Header{}, body: &b}
	req, _ := http.NewRequest(method, path, nil)
	h.ServeHTTP(w, req)
	return b.String()
}

type recorder struct {
	header http.Header
	body   io.Writer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// rawRequest sends bytes and reads one response.
func rawRequest(t *testing.T, f *fixture, text string) (*http.Response, net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, conn
}

// fakeModels answer what they are told to.
type fakeModels struct {
	mu    sync.Mutex
	ready error
}

func (m *fakeModels) set(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = err
}

func (m *fakeModels) Ready(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready
}

func (m *fakeModels) Status(ctx context.Context) (*api.CacheStatus, error) {
	if err := m.Ready(ctx); err != nil {
		return nil, err
	}
	return &api.CacheStatus{Node: "n1"}, nil
}

func (m *fakeModels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "protocol "+r.URL.Path)
}

func (m *fakeModels) Infer(context.Context, api.Call, *oip.Request) (*oip.Response, api.Info, error) {
	return &oip.Response{}, api.Info{Cache: api.CacheSwap, Device: "cpu"}, nil
}
