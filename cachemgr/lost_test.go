package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestDeviceLost(t *testing.T) {
	for _, op := range []testengine.Op{testengine.Run, testengine.Load, testengine.Evict} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 30)
				r.add("b", 30)
				r.add("c", 90)
				r.want("a", api.CacheLoad)
				running := r.hold(testengine.Run, "a")
				first, turn := r.start("a"), r.start("a") // one runs, one waits for its turn
				lost := fmt.Errorf("fell off the bus: %w", engine.ErrDeviceLost)
				var hit *pending
				switch op {
				case testengine.Run:
					running <- lost
					hit = first
				case testengine.Load:
					load := r.hold(testengine.Load, "b")
					hit = r.start("b")
					load <- lost
					close(load)
					synctest.Wait() // it is known before the one that runs ends
				case testengine.Evict:
					evict := r.hold(testengine.Evict, "a")
					hit = r.start("c") // wants a's bytes
					running <- nil
					synctest.Wait()
					running <- nil // turn has its lease, so it runs too
					evict <- lost
					close(evict)
				}
				close(running)
				if _, err := hit.wait(); !errors.Is(err, engine.ErrDeviceLost) {
					r.Errorf("error %v, want ErrDeviceLost", err)
				}
				if _, err := turn.wait(); op != testengine.Evict && !errors.Is(err, engine.ErrDeviceLost) {
					r.Errorf("who waited for a turn: error %v, want ErrDeviceLost", err)
				}
				first.wait()
				synctest.Wait()
				r.wantBytes(api.DeviceStatus{})
				if _, err := r.infer(r.Context(), "b"); !errors.Is(err, engine.ErrDeviceLost) || !errors.Is(err, ErrFailed) {
					r.Errorf("error %v, want ErrDeviceLost until the next attempt", err)
				}
				time.Sleep(time.Second)
				r.want("a", api.CacheLoad) // the device is back
			})
		})
	}
}

func TestLostDeviceIsNotChosen(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 30)
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if c.Device == "one" {
				return engine.ErrDeviceLost
			}
			return nil
		}
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("error %v, want ErrDeviceLost", err)
		}
		if res, err := r.infer(r.Context(), "a"); err != nil || res.Device != "two" {
			r.Errorf("ran on %q with error %v, want device two", res.Device, err)
		}
	}, func(c *Config, e *testengine.Engine) {
		e.List = []engine.Device{{ID: "one", FreeBytes: 100}, {ID: "two", FreeBytes: 100}}
	})
}

func TestDeviceIsNoLongerListed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 30)
		r.engine.List = nil
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("error %v, want ErrDeviceLost", err)
		}
	})
}

func TestDevicesCannotBeListed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 30)
		r.engine.ListError = fmt.Errorf("no driver: %w", engine.ErrUnavailable)
		if _, err := r.infer(r.Context(), "a"); !errors.Is(err, engine.ErrUnavailable) {
			r.Errorf("error %v, want ErrUnavailable", err)
		}
		r.engine.ListError = nil
		time.Sleep(time.Second)
		r.want("a", api.CacheSwap)
	})
}
