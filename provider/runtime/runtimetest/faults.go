package runtimetest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func (s *suite) crash(t *testing.T) {
	s.create(t, s.deployment("crash", 2))
	f := s.ready(t, "crash", 2)
	victim := f.Replicas[0]
	if _, err := s.ask(http.MethodPost, victim, "/die"); err == nil {
		t.Error("a process that was killed has answered")
	}
	s.wait(t, "crash", "without the dead replica", func(f *runtime.Function) bool {
		return !slices.ContainsFunc(f.Replicas, func(r runtime.Replica) bool { return r.ID == victim.ID })
	})
	f = s.ready(t, "crash", 2)
	if f.Problem != "" {
		t.Errorf("after the replica came back: problem %q", f.Problem)
	}
	for _, r := range f.Replicas {
		s.get(t, r, "/life")
	}
}

func (s *suite) crashAtStart(t *testing.T) {
	s.create(t, s.deployment("crasher", 1, variableExit, "7"))
	f := s.wait(t, "crasher", "described as exiting", func(f *runtime.Function) bool { return f.Problem != "" })
	if !strings.Contains(f.Problem, "status 7") || !strings.Contains(f.Problem, "gives up at once") {
		t.Errorf("the problem %q names neither status 7 nor the last line", f.Problem)
	}
	// An update repairs it, without the delay that the failures earned.
	if err := s.rt.Update(t.Context(), s.deployment("crasher", 1)); err != nil {
		t.Fatal(err)
	}
	if f := s.ready(t, "crasher", 1); f.Problem != "" {
		t.Errorf("repaired, with the problem %q", f.Problem)
	}
}

func (s *suite) unknownImage(t *testing.T) {
	d := s.deployment("unknown", 1)
	d.Request.Image = "no/such-image:1"
	if s.NotFoundAtCreate {
		if err := s.rt.Create(t.Context(), d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "no/such-image:1") {
			t.Errorf("got %v, want ErrInvalid that names the image", err)
		}
		if f := s.rt.Snapshot().Functions[d.ID]; f != nil {
			t.Errorf("a refused function is there: %s", describe(f))
		}
		return
	}
	s.create(t, d)
	s.wait(t, "unknown", "described as missing its image", func(f *runtime.Function) bool {
		return strings.Contains(f.Problem, "no/such-image:1")
	})
}

func (s *suite) updateKeepsServing(t *testing.T) {
	s.create(t, s.deployment("update", 2, variableVersion, "1"))
	s.ready(t, "update", 2)
	stop, done := make(chan struct{}), make(chan int, 1)
	go func() { done <- s.invoke(t, "update", stop) }()
	finish := sync.OnceValue(func() int { close(stop); return <-done })
	defer finish()
	if err := s.rt.Update(t.Context(), s.deployment("update", 5, variableVersion, "2")); err != nil {
		t.Fatal(err)
	}
	f := s.wait(t, "update", "updated", func(f *runtime.Function) bool {
		if len(f.Replicas) != 2 {
			return false
		}
		for _, r := range f.Replicas {
			if version, err := s.ask(http.MethodGet, r, "/version"); err != nil || version != "2" || !r.Ready {
				return false
			}
		}
		return true
	})
	if finish() == 0 {
		t.Error("nothing was invoked meanwhile")
	}
	if f.Desired != 2 {
		t.Errorf("Update changed the desired count to %d", f.Desired)
	}
}

// invoke asks replicas that the snapshot calls ready, until stop, and counts the
// answers. There must always be one, and it must answer.
func (s *suite) invoke(t *testing.T, name string, stop chan struct{}) (answers int) {
	for {
		select {
		case <-stop:
			return answers
		default:
		}
		f := s.rt.Snapshot().Functions[s.id(name)]
		i := slices.IndexFunc(f.Replicas, func(r runtime.Replica) bool { return r.Ready })
		if i < 0 {
			t.Errorf("no replica is ready: %s", describe(f))
			return answers
		}
		if _, err := s.ask(http.MethodGet, f.Replicas[i], "/version"); err != nil {
			t.Errorf("a ready replica does not answer: %v", err)
			return answers
		}
		answers++
	}
}

func (s *suite) updateThatFails(t *testing.T) {
	s.create(t, s.deployment("fails", 1, variableVersion, "1"))
	old := s.ready(t, "fails", 1).Replicas[0]
	for _, how := range [][]string{{variableReady, "never"}, {variableExit, "3"}} {
		if err := s.rt.Update(t.Context(), s.deployment("fails", 1, how...)); err != nil {
			t.Fatal(err)
		}
		word := map[string]string{variableReady: "model m is not there", variableExit: "status 3"}[how[0]]
		f := s.wait(t, "fails", "described as "+word, func(f *runtime.Function) bool { return strings.Contains(f.Problem, word) })
		if !slices.ContainsFunc(f.Replicas, func(r runtime.Replica) bool { return r.ID == old.ID && r.Ready }) {
			t.Errorf("the former replica is gone: %s", describe(f))
		}
		if got := s.get(t, old, "/version"); got != "1" {
			t.Errorf("version %q answers", got)
		}
	}
	if err := s.rt.Update(t.Context(), s.deployment("fails", 1, variableVersion, "4")); err != nil {
		t.Fatal(err)
	}
	f := s.wait(t, "fails", "repaired", func(f *runtime.Function) bool {
		return len(f.Replicas) == 1 && f.Replicas[0].Ready && f.Replicas[0].ID != old.ID
	})
	if got := s.get(t, f.Replicas[0], "/version"); got != "4" {
		t.Errorf("version %q answers", got)
	}
	s.gone(t, old)
}

func (s *suite) stopTimeout(t *testing.T) {
	d := s.deployment("stubborn", 1, variableTerm, "ignore")
	d.StopTimeout = 50 * time.Millisecond
	s.create(t, d)
	r := s.ready(t, "stubborn", 1).Replicas[0]
	if err := s.rt.Scale(t.Context(), d.ID, 0); err != nil {
		t.Fatal(err)
	}
	s.ready(t, "stubborn", 0)
	s.gone(t, r)
}

// reopen closes the runtime and opens another on its state.
func (s *suite) reopen(t *testing.T) {
	t.Helper()
	if err := s.rt.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	s.rt = s.Open(t)
}

func (s *suite) restart(t *testing.T) {
	s.create(t, s.deployment("stays", 2))
	s.create(t, s.deployment("zero", 0))
	s.create(t, s.deployment("dies", 1))
	if err := s.rt.CreateSecret(t.Context(), s.ns, "kept", []byte("value")); err != nil {
		t.Fatal(err)
	}
	f := s.ready(t, "stays", 2)
	lives := map[string]string{}
	for _, r := range f.Replicas {
		lives[r.ID] = s.get(t, r, "/life")
	}
	dying := s.ready(t, "dies", 1).Replicas[0]
	if err := s.rt.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(http.MethodPost, dying, "/die"); err == nil {
		t.Error("a process that was killed has answered")
	}
	s.rt = s.Open(t)
	again := s.ready(t, "stays", 2)
	if again.UID != f.UID || !again.CreatedAt.Equal(f.CreatedAt) {
		t.Errorf("UID %s, created at %v; before the restart %s, %v", again.UID, again.CreatedAt, f.UID, f.CreatedAt)
	}
	for _, r := range again.Replicas {
		if life := s.get(t, r, "/life"); life != lives[r.ID] {
			t.Errorf("replica %s is another process than before", r.ID)
		}
	}
	if f := s.rt.Snapshot().Functions[s.id("zero")]; f == nil || f.Desired != 0 {
		t.Errorf("zero: %s", describe(f))
	}
	if r := s.ready(t, "dies", 1).Replicas[0]; r.ID == dying.ID {
		t.Error("the dead replica is shown")
	}
	if names, err := s.rt.ListSecrets(t.Context(), s.ns); err != nil || !slices.Contains(names, "kept") {
		t.Errorf("secrets %v, %v", names, err)
	}
	if err := s.rt.DeleteSecret(t.Context(), s.ns, "kept"); err != nil {
		t.Error(err)
	}
}
