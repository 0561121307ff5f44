package server

import (
	"context"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
)

func TestMemoryOfRequestsIsBounded(t *testing.T) {
	m := newFakeManager()
	running, proceed := make(chan struct{}), make(chan struct{})
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		close(running)
		<-proceed
		return double(ctx, r)
	}
	// A request takes its body as text and as elements, and 64 bytes for its output.
	s, h := newServer(t, m, Limits{InFlight: 5*int64(len(four)) + 64 + 10})
	first := make(chan int, 1)
	go func() {
		resp, _ := send(t, "POST", h.URL+inferPath, four)
		first <- resp.StatusCode
	}()
	<-running
	resp, body := send(t, "POST", h.URL+inferPath, four)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too much in flight") {
		t.Errorf("a second request: %d %s", resp.StatusCode, body)
	}
	close(proceed)
	if status := <-first; status != 200 {
		t.Errorf("the first request: %d", status)
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
	m.infer = double
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}
