package upstream

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func watched(t *testing.T, target string, buffer int64) *Upstream {
	t.Helper()
	parsed, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	u := New(parsed, buffer, time.Minute)
	u.Watch(t.Context())
	t.Cleanup(u.Close)
	return u
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPassesOn(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	}))
	defer back.Close()
	u := watched(t, back.URL+"/base", 0)
	w := ask(u, httptest.NewRequest("POST", "/x?y=1", strings.NewReader("body")))
	if w.Code != 200 || w.Body.String() != "POST /base/x?y=1 body" {
		t.Errorf("got %d, %q", w.Code, w.Body)
	}
}

func TestBuffering(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %s", r.ContentLength, body)
	}))
	defer back.Close()
	for buffer, want := range map[int64]string{4: "4 body", 0: "-1 body"} {
		u := watched(t, back.URL, buffer)
		r := httptest.NewRequest("POST", "/", struct{ io.Reader }{strings.NewReader("body")})
		r.ContentLength = -1
		if w := ask(u, r); w.Body.String() != want {
			t.Errorf("buffer %d: got %q", buffer, w.Body)
		}
	}
	u := watched(t, back.URL, 4)
	r := httptest.NewRequest("POST", "/", strings.NewReader("bodies"))
	r.ContentLength = -1
	if w := ask(u, r); w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "4 bytes that max_buffered allows") {
		t.Errorf("too large: %d, %q", w.Code, w.Body)
	}
	r = httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("half"), broken{}))
	r.ContentLength = -1
	if w := ask(u, r); w.Code != http.StatusBadRequest {
		t.Errorf("truncated: %d, %q", w.Code, w.Body)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestWaitsForAServerThatStarts(t *testing.T) {
	target, err := PickPort(&url.URL{Scheme: "http", Host: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	u := New(target, 0, time.Minute)
	defer u.Close()
	if err := u.Listening(); err == nil || !strings.Contains(err.Error(), target.Host) {
		t.Errorf("listening: %v", err)
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		u.Watch(t.Context())
	}()
	answer := make(chan int)
	go func() { answer <- ask(u, httptest.NewRequest("GET", "/", nil)).Code }()
	ln, err := net.Listen("tcp", target.Host)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })}
	go srv.Serve(ln)
	defer srv.Close()
	<-watching
	if code := <-answer; code != http.StatusTeapot {
		t.Errorf("the request that waited got %d", code)
	}
	if err := u.Listening(); err != nil {
		t.Error(err)
	}
}

func TestWaitingEndsWithTheRequest(t *testing.T) {
	u := New(&url.URL{Scheme: "http", Host: "127.0.0.1:1"}, 0, time.Minute)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u.Watch(ctx) // returns though nothing listens
	w := ask(u, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if w.Body.Len() != 0 {
		t.Errorf("answered %q in place of its caller", w.Body)
	}
}

func TestServerThatIsGone(t *testing.T) {
	back := httptest.NewServer(http.NotFoundHandler())
	u := watched(t, back.URL, 0)
	back.Close()
	w := ask(u, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusBadGateway || w.Header().Get("X-OpenFaaS-Internal") != "of-watchdog" || !strings.Contains(w.Body.String(), back.URL) {
		t.Errorf("got %d, %v, %q", w.Code, w.Header(), w.Body)
	}
}

func TestSlowServerMeetsTheDeadline(t *testing.T) {
	release := make(chan struct{})
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer back.Close()
	defer close(release)
	u := watched(t, back.URL, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if w := ask(u, httptest.NewRequest("GET", "/", nil).WithContext(ctx)); w.Body.Len() != 0 {
		t.Errorf("answered %q in place of its caller", w.Body)
	}
}

func TestPickPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fixed := &url.URL{Scheme: "http", Host: ln.Addr().String()}
	if got, err := PickPort(fixed); err == nil || !strings.Contains(err.Error(), fixed.Host) {
		t.Errorf("another's port is taken for the function's: %v, %v", got, err)
	}
	ln.Close()
	for _, target := range []*url.URL{fixed, {Scheme: "http", Host: "203.0.113.1:5000"}} {
		if got, err := PickPort(target); err != nil || got != target {
			t.Errorf("%s became %v, %v", target, got, err)
		}
	}
	got, err := PickPort(&url.URL{Scheme: "http", Host: "127.0.0.1:0", Path: "/base"})
	if err != nil || got.Port() == "0" || got.Path != "/base" {
		t.Errorf("picked %v, %v", got, err)
	}
	if _, err := PickPort(&url.URL{Scheme: "http", Host: "203.0.113.1:0"}); err == nil {
		t.Error("picked a port of another machine")
	}
}
