package dispatch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// used is the use of digits.
func used(t *testing.T, d *Dispatcher) Use {
	t.Helper()
	for _, u := range d.Uses() {
		if u.ID == digits {
			return u
		}
	}
	t.Fatal("the use of digits is unknown")
	return Use{}
}

func TestUses(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		want := func(what string, requests int, age time.Duration) {
			t.Helper()
			if u := used(t, d); u.Requests != requests || time.Since(u.Since) != age {
				t.Errorf("%s: %d requests, %v ago; want %d, %v", what, u.Requests, time.Since(u.Since), requests, age)
			}
		}
		rt.set(digits, readyReplicas("a"))
		rt.set(digits, capacity("1"))
		want("deployed", 0, 0)
		time.Sleep(time.Second)
		l, err := acquire(t, d, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits, full := later(t, d, ctx), later(t, d, t.Context())
		if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v", err)
		}
		want("one is served and two wait", 3, 0)
		time.Sleep(time.Second)
		cancel()
		<-waits
		want("one has gone", 2, 0)
		if err := l.Retry(t.Context()); err != nil {
			t.Error(err)
		}
		l.Done()
		<-full
		time.Sleep(time.Second)
		want("all are served", 0, time.Second)
		rt.set(digits, func(f *runtime.Function) { f.Problem = "a trifle" })
		want("something changed", 0, time.Second)
		for what, change := range map[string]func(*runtime.Function){
			"updated":        func(f *runtime.Function) { f.Revisions = []string{"r2", "r1"} },
			"ready":          readyReplicas("b"),
			"deployed again": func(f *runtime.Function) { f.UID = "2" },
			"woken":          func(f *runtime.Function) { f.Desired = 2 },
		} {
			switch what {
			case "ready":
				rt.set(digits, func(f *runtime.Function) { f.Replicas = nil })
			case "woken":
				rt.set(digits, func(f *runtime.Function) { f.Desired = 0 })
			}
			synctest.Wait()
			time.Sleep(time.Second)
			rt.set(digits, change)
			want(what, 0, 0)
		}
	})
}

func TestRest(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		rt.set(digits, readyReplicas("a"))
		since := used(t, d).Since
		time.Sleep(time.Second)
		rest := func(since time.Time) bool {
			t.Helper()
			ok, err := d.Rest(t.Context(), digits, since)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		l, err := acquire(t, d, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rest(since) {
			t.Error("a function with a request was scaled to zero")
		}
		l.Done()
		if rest(since) {
			t.Error("a function that was used meanwhile was scaled to zero")
		}
		if len(rt.scaled) != 0 || !rest(used(t, d).Since) || !slices.Equal(rt.scaled, []int{0}) {
			t.Errorf("scaled %v", rt.scaled)
		}
		if ok, err := d.Rest(t.Context(), runtime.ID{Name: "other"}, since); ok || err != nil {
			t.Errorf("an unknown function: %v, %v", ok, err)
		}
	})
}

// TestRequestWhileGoingToRest comes in the middle: it is not sent to a replica that
// is about to leave, and wakes the function once it is at zero.
func TestRequestWhileGoingToRest(t *testing.T) {
	for name, fails := range map[string]error{"scaled": nil, "not scaled": errors.New("the disk is full")} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
				rt.set(digits, readyReplicas("a"))
				u := used(t, d)
				rt.gate, rt.fail = make(chan struct{}), fails
				rested := make(chan error)
				go func() {
					_, err := d.Rest(t.Context(), digits, u.Since)
					rested <- err
				}()
				synctest.Wait()
				if again, err := d.Rest(t.Context(), digits, u.Since); again || err != nil {
					t.Errorf("to rest twice: %v, %v", again, err)
				}
				// A replica's health is reported just now.
				rt.set(digits, func(f *runtime.Function) { f.Problem = "a trifle" })
				got := later(t, d, t.Context())
				select {
				case err := <-got:
					t.Fatalf("the request got the replica that leaves: %v", err)
				default:
				}
				close(rt.gate)
				if err := <-rested; !errors.Is(err, fails) {
					t.Errorf("Rest: %v, want %v", err, fails)
				}
				synctest.Wait()
				if fails != nil {
					if err := <-got; err != nil {
						t.Errorf("the replica stays, and the request got %v", err)
					}
					return
				}
				if !slices.Equal(rt.scaled, []int{0, 1}) {
					t.Fatalf("scaled %v, want to 0 and to 1", rt.scaled)
				}
				rt.set(digits, readyReplicas("b"))
				if err := <-got; err != nil {
					t.Errorf("the request got %v", err)
				}
			})
		})
	}
}
