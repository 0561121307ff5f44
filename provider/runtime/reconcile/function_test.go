package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// fakeReplica ends when it is told to.
type fakeReplica struct {
	info      Info
	ended     chan string
	stubborn  bool // does not stop when asked to
	deathless int  // so many kills fail

	mu    sync.Mutex
	token string
}

func (r *fakeReplica) Info() Info { return r.info }

func (r *fakeReplica) Terminate() error {
	if !r.stubborn {
		r.ended <- "exited with status 0"
	}
	return nil
}

func (r *fakeReplica) Kill() error {
	if r.deathless > 0 {
		r.deathless--
		return errors.New("nobody there to kill it")
	}
	r.ended <- "was killed"
	return nil
}

func (r *fakeReplica) DeliverToken(value []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = string(value)
	return nil
}

func (r *fakeReplica) Wait(ctx context.Context) (string, error) {
	select {
	case how := <-r.ended:
		return how, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// fakeRuntime launches fakeReplicas, which are all ready at once.
type fakeRuntime struct {
	set *Set

	mu       sync.Mutex
	replicas []*fakeReplica
	fails    []error // of the next launches
	stubborn bool
	gone     bool
}

func newFakeRuntime(t *testing.T, tokens runtime.TokenSource) *fakeRuntime {
	f := &fakeRuntime{set: NewSet(Config{Node: "here", Tokens: tokens, Log: slog.New(slog.DiscardHandler)})}
	f.set.client = &http.Client{Transport: alwaysReady{}}
	t.Cleanup(f.set.Close)
	return f
}

type alwaysReady struct{}

func (alwaysReady) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

func (f *fakeRuntime) Running([]Replica) {}

func (f *fakeRuntime) Ended(Replica) string { return "last words" }

func (f *fakeRuntime) Gone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}

func (f *fakeRuntime) isGone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

// fail has the next launches fail.
func (f *fakeRuntime) fail(errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = errs
}

func (f *fakeRuntime) replica(i int) *fakeReplica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas[i]
}

func (f *fakeRuntime) want(revision, desired int) *Want {
	return &Want{
		Deployment: runtime.Deployment{ID: theID}, Revision: revision, Desired: desired,
		Launch: func(token []byte) (Replica, error) { return f.launch(revision, token) },
	}
}

func (f *fakeRuntime) launch(revision int, token []byte) (Replica, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		if err != nil {
			return nil, err
		}
	}
	r := &fakeReplica{
		info: Info{
			ID: fmt.Sprintf("r%d", len(f.replicas)+1), Revision: revision, URL: "http://replica",
			Started: time.Now(), StopTimeout: time.Minute,
		},
		ended: make(chan string, 2), stubborn: f.stubborn, token: string(token),
	}
	f.replicas = append(f.replicas, r)
	return r, nil
}

var theID = runtime.ID{Namespace: runtime.DefaultNamespace, Name: "f"}

// add makes the function and lets it come to rest.
func (f *fakeRuntime) add(desired int) *Function {
	function := f.set.NewFunction(theID, "uid", f, f.want(1, desired))
	f.set.Add(function)
	synctest.Wait()
	return function
}

// shown is the function's replicas that are ready and its problem.
func (f *fakeRuntime) shown() (ready []string, problem string) {
	function := f.set.Snapshot().Functions[theID]
	if function == nil {
		return nil, "no such function"
	}
	for _, r := range function.Replicas {
		if r.Ready {
			ready = append(ready, r.ID)
		}
	}
	return ready, function.Problem
}

func (f *fakeRuntime) expect(t *testing.T, when string, ready []string, words string) {
	t.Helper()
	synctest.Wait()
	got, problem := f.shown()
	if !slices.Equal(got, ready) || !strings.Contains(problem, words) || words == "" && problem != "" {
		t.Errorf("%s: ready %q, problem %q; want %q and %q", when, got, problem, ready, words)
	}
}

// TestLater: what waits for something is asked again when it said, without the
// delay that failures earn, and one that failed is not tried for all at once.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		later := func() error { return Later{Why: "half of it is here", At: time.Now().Add(300 * time.Millisecond)} }
		f.fail(fmt.Errorf("wrapped: %w", later()), errors.New("broken"))
		f.add(2)
		f.expect(t, "at first", nil, "half of it is here")
		time.Sleep(301 * time.Millisecond)
		f.expect(t, "after the delay", nil, "cannot be started: broken; tried again after 1s")
		time.Sleep(time.Second)
		f.expect(t, "in the end", []string{"r1", "r2"}, "")
	})
}

// TestNoRoom: where two replicas cannot be at once, the former leaves first; on
// its own it is a failure like others.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		f.fail(ErrNoRoom)
		function := f.add(2)
		f.expect(t, "without a former one", nil, "cannot be started: no room")
		time.Sleep(time.Second)
		f.expect(t, "with room", []string{"r1", "r2"}, "")
		f.fail(fmt.Errorf("one seat: %w", ErrNoRoom))
		function.Change(f.want(2, 2))
		f.expect(t, "updated", []string{"r1"}, "leaves first: one seat")
		time.Sleep(time.Second)
		f.expect(t, "in the end", []string{"r3", "r4"}, "")
	})
}

// TestEnds: a replica that ends by itself is replaced after a delay, one that
// does not stop is killed, and the keeper of a deleted function is told.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		f.stubborn = true
		function := f.add(1)
		f.replica(0).ended <- "exited with status 7"
		f.expect(t, "ended", nil, "exited with status 7 after 0s; restarted after 1s; the last line of its log: last words")
		time.Sleep(time.Second)
		f.expect(t, "restarted", []string{"r2"}, "")
		f.replica(1).deathless = 2
		f.set.Remove(function)
		time.Sleep(drainDelay + time.Second)
		synctest.Wait()
		if f.isGone() {
			t.Error("the function is gone before its replica has ended")
		}
		time.Sleep(time.Minute + killRetry)
		synctest.Wait()
		if f.isGone() {
			t.Error("the function is gone although its replica cannot be killed")
		}
		time.Sleep(killRetry)
		synctest.Wait()
		if !f.isGone() {
			t.Error("a replica that does not stop is not killed")
		}
	})
}

// TestTokens: a token names the revision of its replica and is replaced at half
// its life.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		f := newFakeRuntime(t, func(_ runtime.ID, revision string) (runtime.Token, error) {
			made++
			return runtime.Token{Value: fmt.Appendf(nil, "%s %d", revision, made), Expires: time.Now().Add(time.Hour)}, nil
		})
		f.add(2)
		token := func(i int) string {
			r := f.replica(i)
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.token
		}
		if a, b := token(0), token(1); a != "uid.1 1" || b != a {
			t.Errorf("tokens %q and %q", a, b)
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if a, b := token(0), token(1); a != "uid.1 2" || b != a {
			t.Errorf("after half an hour: tokens %q and %q", a, b)
		}
	})
}

// TestStop: replicas end, the functions stay, and nothing can be changed any more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		f.add(3)
		if err := f.set.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if f.isGone() || f.set.Get(theID) == nil {
			t.Error("the function is gone")
		}
		if err := f.set.InTurn(t.Context(), func() error { return nil }); err == nil {
			t.Error("a change after Stop is no error")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		f.stubborn = true
		f.add(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.set.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v, want that it took too long", err)
		}
	})
}
