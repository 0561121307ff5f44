package idle

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func named(name string) runtime.ID { return runtime.ID{Namespace: "openfaas-fn", Name: name} }

func TestDue(t *testing.T) {
	now := time.Unix(1e9, 0)
	use := func(name string, change func(*dispatch.Use)) dispatch.Use {
		u := dispatch.Use{ID: named(name), Scale: function.Scale{Zero: true, ZeroAfter: time.Minute}, Replicas: 1, Since: now.Add(-time.Minute)}
		if change != nil {
			change(&u)
		}
		return u
	}
	ago := func(d time.Duration) func(*dispatch.Use) {
		return func(u *dispatch.Use) { u.Since = now.Add(-d) }
	}
	cases := map[string]struct {
		uses []dispatch.Use
		due  string
		next time.Duration // after now, 0 for never
	}{
		"none":              {nil, "", 0},
		"just due":          {[]dispatch.Use{use("a", nil)}, "a", time.Minute},
		"almost due":        {[]dispatch.Use{use("a", ago(time.Minute-1))}, "", 1},
		"does not ask":      {[]dispatch.Use{use("a", func(u *dispatch.Use) { u.Scale.Zero = false })}, "", 0},
		"at zero":           {[]dispatch.Use{use("a", func(u *dispatch.Use) { u.Replicas = 0 })}, "", 0},
		"in use":            {[]dispatch.Use{use("a", func(u *dispatch.Use) { u.Requests = 1 })}, "", time.Minute},
		"a default, due":    {[]dispatch.Use{use("a", func(u *dispatch.Use) { u.Scale.ZeroAfter = 0; u.Since = now.Add(-time.Hour) })}, "a", time.Hour},
		"a default, later":  {[]dispatch.Use{use("a", func(u *dispatch.Use) { u.Scale.ZeroAfter = 0 })}, "", 59 * time.Minute},
		"the clock is back": {[]dispatch.Use{use("a", ago(-time.Hour))}, "", time.Hour + time.Minute},
		"oldest first":      {[]dispatch.Use{use("c", nil), use("a", ago(2*time.Minute)), use("b", nil), use("d", ago(30*time.Second))}, "a b c", 30 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			due, next := Due(now, c.uses, time.Hour)
			var names []string
			for _, u := range due {
				names = append(names, u.ID.Name)
			}
			if got := strings.Join(names, " "); got != c.due || next.IsZero() != (c.next == 0) || c.next != 0 && next.Sub(now) != c.next {
				t.Errorf("due %q and next %v, want %q and %v", got, next.Sub(now), c.due, c.next)
			}
		})
	}
}

// fake is functions and their runtime.
type fake struct {
	mu       sync.Mutex
	uses     map[runtime.ID]dispatch.Use
	snapshot *runtime.Snapshot
	changed  chan struct{}
	fail     error
	rested   []string
	onRest   func(*dispatch.Use) // before the decision
}

func newFake(uses ...dispatch.Use) *fake {
	f := &fake{uses: map[runtime.ID]dispatch.Use{}, snapshot: &runtime.Snapshot{}, changed: make(chan struct{})}
	for _, u := range uses {
		f.uses[u.ID] = u
	}
	return f
}

func (f *fake) Snapshot() *runtime.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot
}

func (f *fake) Changed(*runtime.Snapshot) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fake) set(u dispatch.Use) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uses[u.ID] = u
	close(f.changed)
	f.changed = make(chan struct{})
}

// done are the names of those that were scaled to zero.
func (f *fake) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rested)
}

func (f *fake) failWith(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fake) Uses() []dispatch.Use {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []dispatch.Use
	for _, u := range f.uses {
		all = append(all, u)
	}
	return all
}

func (f *fake) Rest(_ context.Context, id runtime.ID, since time.Time) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.uses[id]
	if f.onRest != nil {
		f.onRest(&u)
	}
	ok := u.Requests == 0 && !u.Since.After(since) && f.fail == nil
	if ok {
		u.Replicas = 0
		f.rested = append(f.rested, id.Name)
	}
	f.uses[id] = u
	return ok, f.fail
}

func play(t *testing.T, f *fake, test func(log *bytes.Buffer)) {
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	var running sync.WaitGroup
	running.Go(func() {
		Run(ctx, Config{Functions: f, Runtime: f, After: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
	})
	synctest.Wait()
	test(&log)
	cancel()
	running.Wait()
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minute := dispatch.Use{ID: named("minute"), Scale: function.Scale{Zero: true, ZeroAfter: time.Minute}, Replicas: 2, Since: time.Now()}
		f := newFake(minute)
		play(t, f, func(log *bytes.Buffer) {
			time.Sleep(time.Minute - 1)
			synctest.Wait()
			if len(f.done()) != 0 {
				t.Error("too soon")
			}
			time.Sleep(1)
			synctest.Wait()
			if !slices.Equal(f.done(), []string{"minute"}) || !strings.Contains(log.String(), "idle=1m0s replicas=2") {
				t.Errorf("after its time: rested %q, log %s", f.done(), log)
			}
			// One that is deployed while there is nothing to wait for.
			f.set(dispatch.Use{ID: named("hour"), Scale: function.Scale{Zero: true}, Replicas: 1, Since: time.Now()})
			time.Sleep(time.Hour)
			synctest.Wait()
			if !slices.Equal(f.done(), []string{"minute", "hour"}) {
				t.Errorf("rested %q", f.done())
			}
		})
	})
}

func TestRunTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(dispatch.Use{ID: named("f"), Scale: function.Scale{Zero: true, ZeroAfter: time.Minute}, Replicas: 1, Since: time.Now()})
		f.fail = errors.New("the disk is full")
		play(t, f, func(log *bytes.Buffer) {
			time.Sleep(time.Minute)
			synctest.Wait()
			if !strings.Contains(log.String(), "the disk is full") {
				t.Errorf("the log has %q", log)
			}
			f.failWith(nil)
			time.Sleep(retryAfter)
			synctest.Wait()
			if len(f.done()) != 1 {
				t.Error("it was not tried again")
			}
		})
	})
}

// TestRunUsedMeanwhile has a request come between the decision and the deed.
func TestRunUsedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(dispatch.Use{ID: named("f"), Scale: function.Scale{Zero: true, ZeroAfter: time.Minute}, Replicas: 1, Since: time.Now()})
		f.onRest = func(u *dispatch.Use) { u.Since = time.Now(); f.onRest = nil }
		play(t, f, func(*bytes.Buffer) {
			time.Sleep(2*time.Minute - 1)
			synctest.Wait()
			if len(f.done()) != 0 {
				t.Error("scaled to zero although it was used")
			}
			time.Sleep(1)
			synctest.Wait()
			if len(f.done()) != 1 {
				t.Error("not scaled to zero a minute after that use")
			}
		})
	})
}

// TestDueNeverInUse draws uses: what is due was unused for its whole time, and
// nothing that could be due is missed before the time that is named.
func TestDueNeverInUse(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		now := time.Unix(1e9, 0)
		var uses []dispatch.Use
		for i := range r.IntN(5) {
			uses = append(uses, dispatch.Use{
				ID: named(string(rune('a' + i))), Replicas: r.IntN(2), Requests: r.IntN(2),
				Scale: function.Scale{Zero: r.IntN(4) > 0, ZeroAfter: time.Duration(r.IntN(3)) * time.Second},
				Since: now.Add(-time.Duration(r.IntN(5000)) * time.Millisecond),
			})
		}
		due, next := Due(now, uses, 2*time.Second)
		for _, u := range uses {
			wait := u.Scale.ZeroAfter
			if wait == 0 {
				wait = 2 * time.Second
			}
			may := u.Scale.Zero && u.Replicas > 0 && u.Requests == 0
			if got := slices.ContainsFunc(due, func(d dispatch.Use) bool { return d.ID == u.ID }); got != (may && now.Sub(u.Since) >= wait) {
				t.Fatalf("seed %d: %+v: due %v", seed, u, got)
			}
			if at := u.Since.Add(wait); may && at.After(now) && (next.IsZero() || next.After(at)) {
				t.Fatalf("seed %d: %+v: next %v is after %v", seed, u, next, at)
			}
		}
	}
}
