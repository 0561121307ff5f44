package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestManagerErrorsBecomeStatuses(t *testing.T) {
	wrap := func(outer, inner error) error { return fmt.Errorf("%w: %w", outer, inner) }
	for _, c := range []struct {
		err    error
		status int
		retry  bool
		reason int
	}{
		{engine.ErrBadInput, 400, false, reasonOther},
		{cachemgr.ErrUnknownModel, 404, false, reasonOther},
		{cachemgr.ErrOverloaded, 503, true, reasonRejected},
		{cachemgr.ErrClosed, 503, true, reasonRejected},
		{engine.ErrNoMemory, 503, true, reasonRejected},
		{wrap(cachemgr.ErrFailed, errors.New("x")), 503, true, reasonBackend},
		{wrap(cachemgr.ErrFailed, engine.ErrBadModel), 500, false, reasonBackend},
		{wrap(cachemgr.ErrFailed, context.DeadlineExceeded), 503, true, reasonBackend},
		{&cachemgr.BuildingError{Progress: "fp16: 40 %"}, 503, true, reasonRejected},
		{engine.ErrBadModel, 500, false, reasonBackend},
		{cachemgr.ErrTooLarge, 500, false, reasonBackend},
		{engine.ErrDeviceLost, 503, true, reasonRejected},
		{engine.ErrUnavailable, 503, true, reasonRejected},
		{context.DeadlineExceeded, 504, false, reasonCanceled},
		{context.Canceled, 503, true, reasonCanceled}, // and the client is still there
		{errors.New("anything else"), 500, false, reasonBackend},
	} {
		m := newFakeManager()
		m.infer = func(context.Context, cachemgr.Request) (cachemgr.Result, error) { return cachemgr.Result{}, c.err }
		s, h := newServer(t, m, Limits{})
		resp, body := send(t, "POST", h.URL+inferPath, four)
		if resp.StatusCode != c.status || (resp.Header.Get("Retry-After") != "") != c.retry || !strings.Contains(body, c.err.Error()) {
			t.Errorf("%v: %d, Retry-After %q, %s", c.err, resp.StatusCode, resp.Header.Get("Retry-After"), body)
		}
		stats := s.catalog.entriesOf(api.FunctionRef{})[0].stats
		if stats.failure[c.reason].Load() != 1 || stats.pending.Load() != 0 {
			t.Errorf("%v is not counted as %s", c.err, reasonNames[c.reason])
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Now()
	for want, err := range map[int]error{
		1:  cachemgr.ErrOverloaded,
		7:  fmt.Errorf("model: %w", &cachemgr.BuildingError{RetryAt: now.Add(7 * time.Second)}),
		30: fmt.Errorf("model: %w", &cachemgr.FailedError{Reason: errors.New("x"), RetryAt: now.Add(29*time.Second + 1)}),
	} {
		if got := retryAfter(err, now); got != want {
			t.Errorf("%v: %d s", err, got)
		}
	}
	if got := retryAfter(&cachemgr.FailedError{RetryAt: now.Add(-time.Hour)}, now); got != 1 {
		t.Errorf("a time that has passed: %d s", got)
	}
}

// untilDone is an infer that tells when it runs and ends with its context.
func untilDone(started chan<- struct{}) func(context.Context, cachemgr.Request) (cachemgr.Result, error) {
	return func(ctx context.Context, _ cachemgr.Request) (cachemgr.Result, error) {
		close(started)
		<-ctx.Done()
		return cachemgr.Result{}, ctx.Err()
	}
}

func TestRunEndsAtItsDeadline(t *testing.T) {
	m := newFakeManager()
	m.infer = untilDone(make(chan struct{}))
	_, h := newServer(t, m, Limits{Run: time.Hour})
	resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDeadline, "10ms")
	if resp.StatusCode != 504 || !strings.Contains(body, "no answer within 10ms") {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	m.infer = untilDone(make(chan struct{}))
	_, h = newServer(t, m, Limits{Run: 10 * time.Millisecond})
	if resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDeadline, "1h"); resp.StatusCode != 504 {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}

func TestRunEndsWhenTheClientLeaves(t *testing.T) {
	m := newFakeManager()
	started, ended := make(chan struct{}), make(chan error, 1)
	run := untilDone(started)
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		_, err := run(ctx, r)
		ended <- err
		return cachemgr.Result{}, err
	}
	_, h := newServer(t, m, Limits{})
	ctx, leave := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "POST", h.URL+inferPath, strings.NewReader(four))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-started
		leave()
	}()
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Error("the client got an answer")
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the run ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the run went on")
	}
}

// raw sends bytes on a connection of its own and returns what comes back.
func raw(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestBodyThatNeverComes(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{BodyTimeout: 20 * time.Millisecond})
	for path, status := range map[string]int{
		inferPath:                   408,
		"/v2/repository/index":      408,
		"/v2/models/unknown/infer":  404, // answered at once, but what is left of the body is not waited for
		"/v2/models/twice/metadata": 404,
	} {
		resp := raw(t, h.URL, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{\"inputs\"")
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", path, resp.StatusCode, readAll(t, resp.Body))
		}
	}
}

func TestEarlyAnswersReachClientsThatStillSend(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{Body: 2 << 20})
	for path, c := range map[string]struct{ size, status int }{
		"/v2/models/none/infer": {1 << 20, 404},
		inferPath:               {8 << 20, 413},
	} {
		for range 20 {
			resp, body := send(t, "POST", h.URL+path, strings.Repeat("x", c.size))
			if resp.StatusCode != c.status {
				t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
	}
}

func TestTruncatedBody(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{\"inputs\"", inferPath)
	conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp.Body); resp.StatusCode != 400 || !bytes.Contains(body, []byte("ends after 9 of 90 bytes")) {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}
