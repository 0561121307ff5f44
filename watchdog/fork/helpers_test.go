package fork

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/logs"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// orphanage makes this test binary the process that orphans go to, as the first
// of a container is, and leave a process behind that another request started.
const orphanage = "FORK_TEST_ORPHANAGE"

func TestMain(m *testing.M) {
	if os.Getenv(orphanage) != "" {
		os.Exit(raiseOrphans())
	}
	goleak.VerifyTestMain(m)
}

// fixture is a handler behind a server. Requests end with their header Limit, as
// the watchdog's server would end them.
type fixture struct {
	*Handler
	url string
	log *logBuffer
}

// logBuffer is what processes have printed to their standard error.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start makes a handler that runs a script of sh; whole is Options.Whole.
func start(t *testing.T, whole int64, script string, environ ...string) *fixture {
	t.Helper()
	f := &fixture{log: &logBuffer{}}
	h, err := New(Options{
		Command: []string{"sh", "-c", script}, Environ: append(environ, "PATH="+os.Getenv("PATH")),
		ContentType: "text/plain", Whole: whole, Stderr: logs.NewPlain(f.log, false), MaxLine: 1 << 16, Prefix: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Handler = h
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if limit, err := time.ParseDuration(r.Header.Get("Limit")); err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), limit)
			defer cancel()
			r = r.WithContext(ctx)
			out := &noting{ResponseWriter: w}
			w = out
			defer func() {
				if ctx.Err() == context.DeadlineExceeded && !out.wrote {
					out.WriteHeader(http.StatusGatewayTimeout)
				}
			}()
		}
		h.ServeHTTP(w, r)
	}))
	f.url = srv.URL
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		h.Close()
	})
	return f
}

// noting knows whether a response was begun.
type noting struct {
	http.ResponseWriter
	wrote bool
}

func (n *noting) WriteHeader(code int) {
	n.wrote = true
	n.ResponseWriter.WriteHeader(code)
}

func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// reply is a response that was read; broken is why it could not be.
type reply struct {
	status int
	body   string
	header http.Header
	broken error
}

func (f *fixture) post(t *testing.T, body io.Reader, header ...string) reply {
	t.Helper()
	r, err := http.NewRequest("POST", f.url+"/some%20path?a=b&c", body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return reply{broken: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(b), resp.Header, err}
}

// bothModes runs a test in either mode.
func bothModes(t *testing.T, test func(t *testing.T, whole int64)) {
	for name, whole := range map[string]int64{"streaming": 0, "serializing": 1 << 20} {
		t.Run(name, func(t *testing.T) { test(t, whole) })
	}
}

// within polls until ok.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting for " + what)
		}
	}
}

// gone reports whether no process has that id; one that has ended and was not
// waited for counts.
func gone(pid string) bool {
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	return err == nil && unix.Kill(n, 0) == unix.ESRCH
}

// dead is gone for the child of another, which may take its time to wait for it.
func dead(pid string) bool {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	return gone(pid) || bytes.Contains(status, []byte("State:\tZ"))
}

func raiseOrphans() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return 2
	}
	h, err := New(Options{Command: []string{"sh", "-c", "sleep 600 & sleep 600 & echo done"}, Environ: os.Environ(),
		Whole: 1 << 10, Stderr: logs.NewPlain(os.Stderr, false), MaxLine: 1024})
	if err != nil {
		fmt.Println(err)
		return 2
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	h.Close()
	if w.Body.String() != "done\n" {
		fmt.Println("answer", w.Code, w.Body)
		return 2
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		fmt.Println("a child is left:", pid, err)
		return 1
	}
	return 0
}
