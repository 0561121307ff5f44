package cachemgr

import (
	"errors"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// Ready says what a request would be told, without making one.
func TestReady(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.addAs("wide", testengine.Model{Cost: engine.Cost{Peak: 101, Resident: 101, Host: 10}})
		r.add("long", 1001)
		r.add("bad", 10)
		heal, _ := r.fail(testengine.Load, "bad", engine.ErrBadModel)
		want := func(name string, err error) {
			r.Helper()
			if got := r.m.Ready(name); !errors.Is(got, err) || (got == nil) != (err == nil) {
				r.Errorf("%s: %v, want %v", name, got, err)
			}
		}
		want("a", nil) // a request would open it
		r.want("a", api.CacheLoad)
		want("a", nil)
		want("nobody's", ErrUnknownModel)
		want("long", ErrTooLarge)
		for _, name := range []string{"wide", "bad"} {
			if _, err := r.m.Spec(r.Context(), name); err != nil { // it can be read
				r.Error(err)
			}
			r.infer(r.Context(), name)
		}
		want("wide", ErrTooLarge)
		want("bad", ErrFailed)
		heal()
		time.Sleep(time.Hour)
		want("bad", nil)
	})
}
