package docker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// TestPullNobodyAwaits: how a pull ended is not told to whoever deploys the image long
// afterwards; that is a pull of its own.
func TestPullNobodyAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDaemon()
		count, failure := 0, errors.New("no such image yet")
		d.pull = func(context.Context, string, func(string)) error {
			count++
			return failure
		}
		p := newPulls(d)
		var later reconcile.Later
		if err := p.fetch(t.Context(), "image"); !errors.As(err, &later) {
			t.Fatalf("fetch: %v, want a pull that is under way", err)
		}
		p.wait() // and the function is deleted meanwhile
		time.Sleep(pullForgotten)
		if err := p.fetch(t.Context(), "image"); !errors.As(err, &later) {
			t.Errorf("fetch: %v, want a pull that is under way", err)
		}
		p.wait()
		if err := p.fetch(t.Context(), "image"); !errors.Is(err, failure) || count != 2 {
			t.Errorf("after %d pulls: %v, want 2 and %v", count, err, failure)
		}
	})
}
