package runtimetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// read returns the texts of a query that ends.
func (s *suite) read(t *testing.T, q logs.Request) []string {
	t.Helper()
	texts := []string{}
	err := s.rt.Logs(t.Context(), q, func(m logs.Message) error {
		if m.Name != q.Name || m.Namespace != q.Namespace || m.Instance == "" || m.Timestamp.IsZero() {
			t.Errorf("message %+v", m)
		}
		texts = append(texts, m.Text)
		return nil
	})
	if err != nil {
		t.Fatalf("Logs: %v", err)
	}
	return texts
}

// say has a replica write a line, and waits until it can be read: a runtime may
// stamp lines when it reads them.
func (s *suite) say(t *testing.T, id runtime.ID, r runtime.Replica, text string) {
	t.Helper()
	s.post(t, r, "/say/"+text)
	deadline := time.Now().Add(patience)
	for !slices.Contains(s.read(t, logs.Request{Name: id.Name, Namespace: id.Namespace, Instance: r.ID}), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%s wrote %q, which cannot be read", r.ID, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *suite) logs(t *testing.T) {
	query := logs.Request{Name: "logs", Namespace: s.ns}
	nothing := func(logs.Message) error { return nil }
	if err := s.rt.Logs(t.Context(), query, nothing); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("an unknown function: %v, want ErrNotFound", err)
	}
	s.create(t, s.deployment("logs", 2, variableVersion, "1"))
	f := s.ready(t, "logs", 2)
	a, b := f.Replicas[0], f.Replicas[1]
	s.say(t, s.id("logs"), a, "one")
	s.say(t, s.id("logs"), b, "two")
	since := time.Now()
	s.say(t, s.id("logs"), a, "three")
	s.say(t, s.id("logs"), b, "four")

	with := func(change func(*logs.Request)) logs.Request {
		q := query
		change(&q)
		return q
	}
	begin := "starting version 1"
	for _, c := range []struct {
		name  string
		query logs.Request
		want  []string
	}{
		{"all, by time", query, []string{begin, begin, "one", "two", "three", "four"}},
		{"tail", with(func(q *logs.Request) { q.Tail = 3 }), []string{"two", "three", "four"}},
		{"long tail", with(func(q *logs.Request) { q.Tail = 100 }), []string{begin, begin, "one", "two", "three", "four"}},
		{"tail -1 is all", with(func(q *logs.Request) { q.Tail = -1 }), []string{begin, begin, "one", "two", "three", "four"}},
		{"since", with(func(q *logs.Request) { q.Since = &since }), []string{"three", "four"}},
		{"instance", with(func(q *logs.Request) { q.Instance = b.ID }), []string{begin, "two", "four"}},
		{"unknown instance", with(func(q *logs.Request) { q.Instance = "x" }), []string{}},
		{"since, tail and instance", with(func(q *logs.Request) { q.Since, q.Tail, q.Instance = &since, 5, a.ID }), []string{"three"}},
	} {
		if got := s.read(t, c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	full := errors.New("full")
	if err := s.rt.Logs(t.Context(), query, func(logs.Message) error { return full }); !errors.Is(err, full) {
		t.Errorf("emit fails: %v, want its error", err)
	}
	// What a replica wrote stays for a while.
	if err := s.rt.Scale(t.Context(), s.id("logs"), 0); err != nil {
		t.Fatal(err)
	}
	s.ready(t, "logs", 0)
	if got := s.read(t, with(func(q *logs.Request) { q.Since = &since })); !slices.Equal(got, []string{"three", "four"}) {
		t.Errorf("of replicas that are gone: %q", got)
	}
}

func (s *suite) logsFollow(t *testing.T) {
	s.create(t, s.deployment("follow", 1))
	first := s.ready(t, "follow", 1).Replicas[0]
	s.say(t, s.id("follow"), first, "before")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, done := make(chan string), make(chan error, 1)
	go func() {
		done <- s.rt.Logs(ctx, logs.Request{Name: "follow", Namespace: s.ns, Follow: true, Tail: 1}, func(m logs.Message) error {
			select {
			case lines <- m.Text:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case err := <-done:
			t.Fatalf("Logs ended: %v; want %q", err, want)
		case <-time.After(patience):
			t.Fatalf("no line; want %q", want)
		}
	}
	expect("before")
	s.post(t, first, "/say/after")
	expect("after")
	// A replica that starts later is followed too.
	if err := s.rt.Scale(t.Context(), s.id("follow"), 2); err != nil {
		t.Fatal(err)
	}
	expect("starting version ")
	s.post(t, s.ready(t, "follow", 2).Replicas[1], "/say/second")
	expect("second")

	ended := time.Now()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Logs: %v, want nil", err)
		}
		if d := time.Since(ended); d > 2*time.Second {
			t.Errorf("Logs ended only %v after its context", d)
		}
	case <-time.After(patience):
		t.Error("Logs does not end with its context")
	}
}
