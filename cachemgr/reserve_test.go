package cachemgr

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestReserveEvictsWhatIsInTheWay(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.growth = true // bytes are counted before models have made room
		r.add("a", 40)
		r.add("b", 40)
		r.want("a", api.CacheLoad)
		r.want("b", api.CacheLoad)
		release, err := r.m.Reserve(r.Context(), "cpu", 50)
		if err != nil {
			r.Fatal(err)
		}
		r.wantState("a", api.StateStaged)
		r.wantState("b", api.StateResident)
		r.wantBytes(api.DeviceStatus{Resident: 40, Reserved: 50})
		waits := r.start("a") // 40 bytes fit once b has gone
		if _, err := waits.wait(); err != nil {
			r.Error(err)
		}
		r.wantState("b", api.StateStaged)
		release()
		release() // a second time changes nothing
		r.want("b", api.CacheSwap)
		r.wantBytes(api.DeviceStatus{Resident: 80})
	})
}

func TestReserveWaitsForRequests(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.growth = true
		r.add("a", 60)
		r.want("a", api.CacheLoad)
		running := r.hold(testengine.Run, "a")
		p := r.start("a")
		reserved := make(chan error, 1)
		go func() {
			release, err := r.m.Reserve(r.Context(), "cpu", 50)
			if err == nil {
				release()
			}
			reserved <- err
		}()
		synctest.Wait()
		select {
		case err := <-reserved:
			r.Errorf("reserved while a request had the bytes: %v", err)
		default:
		}
		close(running)
		if _, err := p.wait(); err != nil {
			r.Error(err)
		}
		if err := <-reserved; err != nil {
			r.Error(err)
		}
	})
}

func TestReserveFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.growth = true
		r.add("a", 30)
		r.want("a", api.CacheLoad)
		if err := r.m.Pin("a", true); err != nil {
			r.Fatal(err)
		}
		if _, err := r.m.Reserve(r.Context(), "gpu", 1); !errors.Is(err, engine.ErrUnavailable) {
			r.Errorf("no such device: %v", err)
		}
		if _, err := r.m.Reserve(r.Context(), "cpu", 71); !errors.Is(err, engine.ErrNoMemory) {
			r.Errorf("what a pinned model has: %v", err)
		}
		release, err := r.m.Reserve(r.Context(), "cpu", 60)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := r.m.Reserve(r.Context(), "cpu", 20); !errors.Is(err, engine.ErrNoMemory) {
			r.Errorf("what another has: %v", err)
		}
		release()

		if err := r.m.Pin("a", false); err != nil {
			r.Fatal(err)
		}
		running := r.hold(testengine.Run, "a")
		p := r.start("a")
		ctx, cancel := context.WithCancel(r.Context())
		failed := make(chan error, 2)
		reserve := func(ctx context.Context) {
			_, err := r.m.Reserve(ctx, "cpu", 100)
			failed <- err
		}
		go reserve(ctx)
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			r.Errorf("given up: %v", err)
		}
		r.wantBytes(api.DeviceStatus{Draining: 30, Running: 1}) // nothing is set aside any more
		go reserve(r.Context())
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- r.m.Close(r.Context()) }()
		if err := <-failed; !errors.Is(err, ErrClosed) {
			r.Errorf("closing: %v", err)
		}
		close(running)
		if _, err := p.wait(); err != nil {
			r.Error(err)
		}
		if err := <-closed; err != nil {
			r.Error(err)
		}
	})
}

// lender is an engine that keeps memory for reuse.
type lender struct {
	*testengine.Engine
	lent int64
	err  error
}

func (l *lender) Lend(_ engine.DeviceID, bytes int64) (func(), error) {
	if l.err != nil {
		return nil, l.err
	}
	l.lent += bytes
	return func() { l.lent -= bytes }, nil
}

func TestReserveHasTheEngineGiveMemoryBack(t *testing.T) {
	l := &lender{}
	inBubble(t, func(r *rig) {
		release, err := r.m.Reserve(r.Context(), "cpu", 50)
		if err != nil {
			r.Fatal(err)
		}
		if l.lent != 50 {
			r.Errorf("%d bytes are lent, want 50", l.lent)
		}
		release()
		release()
		if l.lent != 0 {
			r.Errorf("%d bytes are lent after the end", l.lent)
		}
		l.err = engine.ErrDeviceLost
		if _, err := r.m.Reserve(r.Context(), "cpu", 50); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("got %v, want %v", err, engine.ErrDeviceLost)
		}
		r.wantBytes(api.DeviceStatus{})
	}, func(c *Config, e *testengine.Engine) { l.Engine, c.Engine = e, l })
}
