package dispatch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// TestFailing refuses requests at once while replicas fail again and again, and only
// then.
func TestFailing(t *testing.T) {
	play(t, func(t *testing.T, rt *fake, d *Dispatcher) {
		change := func(inVain int, ready bool) {
			rt.set(digits, func(f *runtime.Function) {
				f.Desired, f.InVain, f.Problem = 1, inVain, "exited with status 2"
				f.Replicas = []runtime.Replica{{ID: "a", URL: "http://a:1", Ready: ready}}
			})
			synctest.Wait()
		}
		change(vainStarts-1, false)
		waits := later(t, d, t.Context())
		change(vainStarts, false)
		began := time.Now()
		if _, err := acquire(t, d, t.Context()); !errors.Is(err, ErrFailing) || !strings.Contains(err.Error(), "status 2") || time.Since(began) > 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if err := <-waits; !errors.Is(err, ErrFailing) || time.Since(began) > 0 {
			t.Errorf("one that came before got %v after %v", err, time.Since(began))
		}
		f, _ := d.Lookup(digits)
		if e := d.Explain(f, Want{}); e.Chosen != "" || !strings.Contains(e.Why, "status 2") {
			t.Errorf("explained: %+v", e)
		}
		// Who has looked the function up before it was updated.
		rt.set(digits, func(f *runtime.Function) { readyReplicas("a")(f); f.InVain = 0 })
		if l, err := d.Acquire(t.Context(), f, Want{}); err != nil {
			t.Errorf("right after an update: %v", err)
		} else {
			l.Done()
		}
		change(vainStarts, true)
		l, err := acquire(t, d, t.Context())
		if err != nil {
			t.Errorf("one is ready: %v", err)
		}
		l.Done()
		if u := used(t, d); u.Requests != 0 {
			t.Errorf("%+v", u)
		}
	})
}
