package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func TestMemoryOfRequestsIsBounded(t *testing.T) {
	m := newFakeManager()
	running, proceed := make(chan struct{}), make(chan struct{})
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		close(running)
		<-proceed
		return double(ctx, r)
	}
	// A request takes its body as text and as elements, and for its output 64
	// bytes and the text of four floats.
	s, h := newServer(t, m, Limits{InFlight: 5*int64(len(four)) + 64 + 4*16 + 10})
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
	if used := s.memory.taken(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
	m.infer = double
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

// One function's requests leave room for those of others, whatever they ask for.
func TestMemoryOfRequestsIsShared(t *testing.T) {
	const limit = 1 << 20
	m := newMemory(limit, 100)
	name := func(n int) api.FunctionRef { return api.FunctionRef{Name: fmt.Sprint("f", n)} }
	had := map[api.FunctionRef]int64{}
	for n := range 4 { // each takes as much as it gets, in small and large pieces
		if err := m.begin(name(n)); err != nil {
			t.Fatal(err)
		}
		for piece := int64(limit); piece > 0; piece /= 2 {
			for had[name(n)] > 0 && m.take(name(n), piece, 0) == nil {
				had[name(n)] += piece
			}
			if had[name(n)] == 0 && piece <= limit/64 && m.take(name(n), piece, 0) == nil {
				had[name(n)] = piece
			}
		}
		if had[name(n)] < limit/64 {
			t.Errorf("after %d greedy functions another gets %d bytes", n, had[name(n)])
		}
	}
	if err := errors.Join(m.begin(name(9)), m.take(name(9), limit/64, 0)); err != nil {
		t.Errorf("after four greedy functions: %v", err)
	}
	m.end(name(9), limit/64)
	for f, n := range had {
		m.end(f, n)
	}
	if m.taken() != 0 || len(m.byFunction) != 0 {
		t.Errorf("%d bytes are taken at the end, by %v", m.taken(), m.byFunction)
	}
	// A request alone may have everything, in several steps.
	if err := m.begin(name(1)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.take(name(1), limit-10, 0), m.take(name(1), 10, limit-10)); err != nil {
		t.Error(err)
	}
	if m.take(name(2), 1, 0) == nil {
		t.Error("more is given than there is")
	}
}

// One function's requests leave places for those of others.
func TestPlacesAreShared(t *testing.T) {
	m := newMemory(1<<20, 64)
	name := func(n int) api.FunctionRef { return api.FunctionRef{Name: fmt.Sprint("f", n)} }
	var had [4]int
	for n, least := range []int{32, 16, 8, 4} { // what each greedy one takes of what is left
		for m.begin(name(n)) == nil {
			had[n]++
		}
		if had[n] != least {
			t.Errorf("greedy function %d has %d requests, want %d", n, had[n], least)
		}
	}
	if err := m.begin(name(9)); err != nil {
		t.Errorf("the first request of another function: %v", err)
	}
	m.end(name(9), 0)
	m.end(name(0), 0)
	if err := m.begin(name(0)); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "31 requests") {
		t.Errorf("a greedy one once more: %v, want errBusy that says what it has", err)
	}
	had[0]--
	for n, requests := range had {
		for range requests {
			m.end(name(n), 0)
		}
	}
	if m.requests != 0 || len(m.byFunction) != 0 {
		t.Errorf("at the end there are %d requests, of %v", m.requests, m.byFunction)
	}
	for range 1000 { // where callers have no names
		if err := m.begin(api.FunctionRef{}); err != nil {
			t.Fatal(err)
		}
	}
}

// What the engine allocates, and the text that outputs become, count too.
func TestMemoryOfAnswersCounts(t *testing.T) {
	m := newFakeManager()
	m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1}}}
	m.infer = func(_ context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		r.Out[0].Data, r.Out[0].Shape = make([]byte, 4000), []int64{1000}
		return cachemgr.Result{Outcome: api.CacheHit}, nil
	}
	for room, status := range map[int64]int{3999: 503, 4000: 503, 19999: 503, 20000: 200} {
		s, h := newServer(t, m, Limits{InFlight: 5*int64(len(four)) + room})
		if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != status {
			t.Errorf("room for %d bytes: %d %.100s", room, resp.StatusCode, body)
		}
		waitFor(t, func() bool { return s.memory.taken() == 0 })
	}
}
