package reconcile

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// launched is how many replicas there were.
func (f *fakeRuntime) launched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.replicas)
}

// neverReady answers no probe.
type neverReady struct{}

func (neverReady) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody listens")
}

func TestInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		expect := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := f.set.Snapshot().Functions[theID].InVain; got != want {
				t.Errorf("%s: %d in vain, want %d", when, got, want)
			}
		}
		broken := errors.New("broken")
		f.fail(broken, broken, broken)
		function := f.add(1)
		expect("not started", 1)
		time.Sleep(time.Second)
		expect("not started again", 2)
		time.Sleep(2 * time.Second)
		expect("and again", 3)
		time.Sleep(4 * time.Second)
		expect("one is ready", 0)
		for range 3 {
			last := f.replica(f.launched() - 1)
			last.ended <- "exited with status 1"
			expect("one that was ready has ended", 0)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		f.fail(broken)
		f.replica(f.launched() - 1).ended <- "exited with status 1"
		synctest.Wait()
		time.Sleep(time.Minute)
		f.fail(broken, broken)
		function.Change(f.want(2, 1))
		if got := f.set.Snapshot().Functions[theID].InVain; got != 0 {
			t.Errorf("right after an update: %d in vain", got)
		}
		expect("an update begins anew", 1)
		function.Change(f.want(2, 0))
		expect("none is wanted", 0)
	})
}

// TestInVainBeforeReady counts replicas that run and end before they are ready, those
// that end together once.
func TestInVainBeforeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeRuntime(t, nil)
		f.set.client = &http.Client{Transport: neverReady{}}
		f.add(2)
		for round := range 3 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for i := range 2 {
				f.replica(2*round + i).ended <- "exited with status 7"
			}
			synctest.Wait()
			fn := f.set.Snapshot().Functions[theID]
			if fn.InVain != round+1 || fn.Problem == "" {
				t.Errorf("round %d: %d in vain, problem %q", round, fn.InVain, fn.Problem)
			}
			time.Sleep(firstBackoff << round)
		}
	})
}
