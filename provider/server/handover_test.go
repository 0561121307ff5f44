package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// counting is a runtime that counts what is deleted.
type counting struct {
	still
	deleted atomic.Int64
}

func (c *counting) Delete(context.Context, runtime.ID) error { c.deleted.Add(1); return nil }

// oneAtATime is a runtime whose function digits has one replica, that h serves,
// for one request at a time.
func oneAtATime(t *testing.T, h http.HandlerFunc) *counting {
	rt := &counting{still: withDigits(t, h)}
	for _, f := range rt.snapshot.Functions {
		f.Deployment.Request.EnvVars = map[string]string{"max_inflight": "1"}
	}
	return rt
}

// answering is a handler that says who answers.
func answering(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }
}

// busy is a handler that tells when it is called and answers once it may.
func busy(name string) (h http.HandlerFunc, called <-chan struct{}, answer chan<- struct{}) {
	calls, answers := make(chan struct{}, 1), make(chan struct{})
	return func(w http.ResponseWriter, _ *http.Request) {
		calls <- struct{}{}
		<-answers
		io.WriteString(w, name)
	}, calls, answers
}

// deletion asks for one in the background, and returns the status.
func deletion(url string) <-chan int {
	status := make(chan int, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, _ := http.NewRequest(http.MethodDelete, url+"/system/functions", strings.NewReader(`{"functionName":"digits"}`))
		resp, err := client.Do(r)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	return status
}

// waits is whether so many requests wait for a replica, at the latest soon.
func waits(t *testing.T, s *Server, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.present().dispatcher.Stats().Waiting != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests wait, want %d", s.present().dispatcher.Stats().Waiting, n)
		}
	}
}

func TestReleaseAndResume(t *testing.T) {
	h, called, answer := busy("first")
	s, _, url := serve(t, oneAtATime(t, h))
	inFlight := call(url)
	<-called
	queued := call(url)
	waits(t, s, 1)
	s.Release()
	s.Release() // again, as after a Resume
	deleted := deletion(url)
	resp, err := http.Get(url + "/system/functions")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a list got %v, %v", resp, err)
	}
	resp.Body.Close()
	select {
	case got := <-queued:
		t.Fatalf("the request that waits got %q", got)
	case got := <-deleted:
		t.Fatalf("the deletion got %d", got)
	default:
	}

	next := oneAtATime(t, answering("second"))
	if err := s.Resume(next); err != nil {
		t.Fatal(err)
	}
	if got := <-queued; got != "second" {
		t.Errorf("the request that waited got %q", got)
	}
	if got := <-deleted; got != http.StatusAccepted || next.deleted.Load() != 1 {
		t.Errorf("the deletion got %d, and there were %d", got, next.deleted.Load())
	}
	close(answer)
	if got := <-inFlight; got != "first" {
		t.Errorf("the request in flight got %q", got)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// sibling is another listener of the same socket, as another process has it.
func sibling(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// ask sends a request over a client's own connections.
func ask(t *testing.T, client *http.Client, url string) (body string, closes bool) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), resp.Close
}

func TestPassOn(t *testing.T) {
	h, called, answer := busy("old")
	rt := talkativeCounting{oneAtATime(t, h)}
	s, l, url := serve(t, rt)
	followed, err := http.Get(url + "/system/logs?name=digits&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer followed.Body.Close()
	inFlight := call(url)
	<-called
	queued := call(url)
	waits(t, s, 1)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if _, closes := ask(t, client, url+"/healthz"); closes {
		t.Error("the connection closes although nothing has happened")
	}

	s.Release()
	if lines, err := io.ReadAll(followed.Body); err != nil || strings.Count(string(lines), "\n") != 1 {
		t.Errorf("the logs end with %q, %v", lines, err)
	}
	deleted := deletion(url)
	next := oneAtATime(t, answering("new"))
	successor, err := Start(Config{Listener: sibling(t, l), Runtime: next, Limits: DefaultLimits(), Log: s.cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	passed := make(chan error, 1)
	go func() { passed <- s.PassOn(context.Background()) }()

	if got := <-queued; got != "new" {
		t.Errorf("the request that waited got %q", got)
	}
	if got := <-deleted; got != http.StatusAccepted || next.deleted.Load() != 1 || rt.deleted.Load() != 0 {
		t.Errorf("the deletion got %d; there were %d here and %d there", got, rt.deleted.Load(), next.deleted.Load())
	}
	// Over the connection to the old one, which is asked to close.
	if got, closes := ask(t, client, url+"/function/digits"); got != "new" || !closes {
		t.Errorf("over an open connection: %q, closes: %v", got, closes)
	}
	if got, closes := ask(t, client, url+"/function/digits"); got != "new" || closes {
		t.Errorf("over a new connection: %q, closes: %v", got, closes)
	}
	select {
	case err := <-passed:
		t.Fatalf("ended with a request in flight: %v", err)
	default:
	}
	close(answer)
	if got := <-inFlight; got != "old" {
		t.Errorf("the request in flight got %q", got)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-passed; err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	if err := successor.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// talkativeCounting is a counting runtime whose logs have no end.
type talkativeCounting struct{ *counting }

func (c talkativeCounting) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	return talkative{c.still}.Logs(ctx, q, emit)
}

func TestPassOnIsBounded(t *testing.T) {
	h, called, answer := busy("old")
	defer close(answer)
	s, _, url := serve(t, oneAtATime(t, h))
	got := call(url)
	<-called
	s.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.PassOn(ctx); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v", err)
	}
	if got := <-got; !strings.HasPrefix(got, "error") {
		t.Errorf("got %q", got)
	}
}

// TestPassOnKeepsHeaders wants a request to arrive as it came.
func TestPassOnKeepsHeaders(t *testing.T) {
	seen := make(chan *http.Request, 1)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r })}
	go server.Serve(target)
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	h := passOn(target.Addr().String(), transport, slog.New(slog.DiscardHandler))
	for _, given := range []http.Header{
		{},
		{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Host": {"outside"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=1.2.3.4"}},
	} {
		recorder := httptest.NewRecorder()
		r, err := http.NewRequest("POST", "http://provider/function/f/a%2fb?x=1;y", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr, r.Header = "5.6.7.8:9", given
		h.ServeHTTP(recorder, r)
		got := <-seen
		wantFor := strings.TrimPrefix(given.Get("X-Forwarded-For")+", 5.6.7.8", ", ")
		if got.RequestURI != "/function/f/a%2fb?x=1;y" || got.Host != "provider" || got.Header.Get("X-Forwarded-For") != wantFor {
			t.Errorf("%s for %s with %v", got.RequestURI, got.Host, got.Header)
		}
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
			if got.Header.Get(name) != given.Get(name) {
				t.Errorf("%s is %q, was %q", name, got.Header.Get(name), given.Get(name))
			}
		}
	}
}
