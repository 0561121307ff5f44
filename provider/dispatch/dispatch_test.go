package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

func TestFastPath(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		if _, ok := d.Lookup(digits); ok {
			t.Fatal("found what is not there")
		}
		// Deployed a moment ago: found although Run has not followed yet.
		rt.set(digits, readyReplicas("a", "b"))
		first, err := acquire(t, d, t.Context())
		if err != nil || first.Address != "a:8080" || first.Replica != "a" {
			t.Fatalf("got %+v, %v", first, err)
		}
		second, err := acquire(t, d, t.Context())
		if err != nil || second.Replica != "b" {
			t.Fatalf("got %+v, %v", second, err)
		}
		first.Done()
		first.Done() // twice is once
		f, _ := d.Lookup(digits)
		if e := d.Explain(f, Want{}); e.Chosen != "a" {
			t.Errorf("explained as %+v", e)
		}
		second.Done()
	})
}

func TestWaitsForRoomThenQueueIsFull(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		l, err := acquire(t, d, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		one, two := later(t, d, t.Context()), later(t, d, t.Context())
		if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v", err)
		}
		if s := d.Stats(); s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		l.Done()
		if err := errors.Join(<-one, <-two); err != nil {
			t.Error(err)
		}
	})
}

func TestTimeoutSaysWhatIsWrong(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, func(f *runtime.Function) {
			f.Desired, f.Problem = 1, "exited with status 2"
			f.Replicas = []runtime.Replica{{ID: "a", URL: "http://a:1"}}
		})
		began := time.Now()
		_, err := acquire(t, d, t.Context())
		if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "status 2") || time.Since(began) != 30*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if s := d.Stats(); s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestClientLeaves(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		l, _ := acquire(t, d, t.Context())
		ctx, leave := context.WithCancel(t.Context())
		gone, stays := later(t, d, ctx), later(t, d, t.Context())
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		l.Done()
		if err := <-stays; err != nil {
			t.Error(err)
		}
	})
}

func TestWakesOnceFromZero(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, func(f *runtime.Function) {
			f.Deployment.Request.Labels = &map[string]string{"com.openfaas.scale.min": "2"}
		})
		one, two := later(t, d, t.Context()), later(t, d, t.Context())
		if len(rt.scaled) != 1 || rt.scaled[0] != 2 {
			t.Fatalf("scaled to %v", rt.scaled)
		}
		rt.set(digits, readyReplicas("a"))
		if err := errors.Join(<-one, <-two); err != nil {
			t.Error(err)
		}
		if s := d.Stats(); s.Wakes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDoesNotChangeAWantedCount(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, func(f *runtime.Function) { f.Desired = 3 }) // all died
		waits := later(t, d, t.Context())
		rt.set(digits, readyReplicas("a"))
		if err := <-waits; err != nil || len(rt.scaled) != 0 {
			t.Errorf("got %v, scaled to %v", err, rt.scaled)
		}
	})
}

func TestWakeFails(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.fail = errors.New("disk full")
		rt.set(digits, func(*runtime.Function) {})
		if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
}

// A request that comes while another's wake is failing is not forgotten.
func TestWakeIsTriedAgainIfAskedMeanwhile(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, func(f *runtime.Function) { f.Desired = 0 })
		rt.fail, rt.gate = errors.New("busy"), make(chan struct{})
		first := later(t, d, t.Context())
		second := later(t, d, t.Context())
		rt.mu.Lock()
		rt.fail = nil // the next one succeeds
		rt.mu.Unlock()
		close(rt.gate)
		synctest.Wait()
		if f := rt.Snapshot().Functions[digits]; f.Desired != 1 {
			t.Fatalf("%d replicas are wanted", f.Desired)
		}
		rt.set(digits, readyReplicas("a"))
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

func TestRemovedWhileWaiting(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		l, _ := acquire(t, d, t.Context())
		waits := later(t, d, t.Context())
		rt.set(digits, nil)
		if err := <-waits; !errors.Is(err, ErrUnknownFunction) {
			t.Errorf("got %v", err)
		}
		l.Done()
		if _, ok := d.Lookup(digits); ok {
			t.Error("still known")
		}
		if len(d.addresses) != 0 {
			t.Errorf("left behind: %v", d.addresses)
		}
	})
}

func TestDeployedAgainIsAnotherFunction(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		l, _ := acquire(t, d, t.Context())
		waits := later(t, d, t.Context())
		rt.set(digits, func(f *runtime.Function) { f.UID = "2"; readyReplicas("new")(f) })
		if err := <-waits; !errors.Is(err, ErrUnknownFunction) {
			t.Errorf("got %v", err)
		}
		l.Done()
		l, err := acquire(t, d, t.Context())
		if err != nil || l.Replica != "new" {
			t.Errorf("got %+v, %v", l, err)
		}
		l.Done()
	})
}

func TestRetry(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a", "b"))
		f, _ := d.Lookup(digits)
		l, _ := d.Acquire(t.Context(), f, Want{})
		if err := l.Retry(t.Context()); err != nil || l.Replica != "b" {
			t.Fatalf("got %+v, %v", l, err)
		}
		// Then a again, after a while; neither is ever reached.
		began, err := time.Now(), error(nil)
		for err == nil {
			err = l.Retry(t.Context())
		}
		if !errors.Is(err, ErrUnreachable) || time.Since(began) == 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		l.Done() // of the zero lease
		if s := d.Stats(); s.Retries < 3 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRetire(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		l, err := acquire(t, d, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waits := later(t, d, t.Context())
		d.Retire()
		if err := <-waits; !errors.Is(err, ErrRetired) {
			t.Errorf("one that waited got %v", err)
		}
		if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrRetired) {
			t.Errorf("one that would have to wait got %v", err)
		}
		l.Done() // leases are as before
		if l, err = acquire(t, d, t.Context()); err != nil || l.Replica != "a" {
			t.Errorf("one that finds a replica got %+v, %v", l, err)
		}
		rt.set(digits, readyReplicas())
		synctest.Wait()
		if err := l.Retry(t.Context()); !errors.Is(err, ErrRetired) {
			t.Errorf("one that was not sent got %v", err)
		}
		if s := d.Stats(); s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestScaledToZeroWithoutWaking(t *testing.T) {
	rt := newFake()
	rt.set(digits, func(*runtime.Function) {})
	d := New(Config{Runtime: rt, Scheduler: sched.NewLeastInFlight(2), Wait: time.Second, Log: slog.New(slog.DiscardHandler)})
	defer d.Close()
	if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrNoReplica) {
		t.Errorf("got %v", err)
	}
}

// TestManyAtOnce lets requests and changes of the runtime race, and wants every
// request answered and nothing left.
func TestManyAtOnce(t *testing.T) {
	rt := newFake()
	rt.set(digits, readyReplicas("a", "b"))
	rt.set(digits, capacity("2"))
	d := New(Config{Runtime: rt, Scheduler: sched.NewLeastInFlight(1000), Wait: 10 * time.Second, WakeFromZero: true, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var following, requests sync.WaitGroup
	following.Go(func() { d.Run(ctx) })
	for range 16 {
		requests.Go(func() {
			for range 200 {
				l, err := acquire(t, d, t.Context())
				if err != nil {
					t.Error(err)
				}
				l.Done()
			}
		})
	}
	for i := range 100 {
		rt.set(digits, readyReplicas([]string{"a", "b", "c"}[i%3]))
	}
	requests.Wait()
	cancel()
	following.Wait()
	d.Close()
	if s := d.Stats(); s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}
