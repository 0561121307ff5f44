package variant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestWaiting(t *testing.T) {
	inBubble(t, func(r *rig) {
		wait := cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4, Fallback: api.FallbackWait}
		r.add("m", wait)
		answers := make(chan error, 5)
		ask := func(ctx context.Context) {
			res, err := r.Infer(ctx, request("m", 1, wait))
			if err == nil && (res.Engine != "gpu" || res.Queue != 5*time.Second) {
				err = fmt.Errorf("answered %+v", res)
			}
			answers <- err
		}
		began := time.Now()
		go ask(r.Context())
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		go ask(ctx)
		synctest.Wait()
		go ask(r.Context()) // one more than may wait
		if err := <-answers; !errors.Is(err, cachemgr.ErrOverloaded) {
			r.Errorf("the queue is full: %v", err)
		}
		if err := <-answers; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			r.Errorf("too late after %v: %v", time.Since(began), err)
		}
		time.Sleep(4 * time.Second)
		r.let(nil)
		if err := <-answers; err != nil {
			r.Error(err)
		}

		r.add("slow", wait)
		began = time.Now()
		_, err := r.Infer(r.Context(), request("slow", 1, wait))
		var building *cachemgr.BuildingError
		if !errors.As(err, &building) || time.Since(began) != 30*time.Second || !building.RetryAt.After(time.Now()) {
			r.Errorf("after %v: %v", time.Since(began), err)
		}
		go func() { _, err := r.Infer(r.Context(), request("slow", 1, wait)); answers <- err }()
		synctest.Wait()
		r.Drain()
		if err := <-answers; !errors.Is(err, cachemgr.ErrClosed) {
			r.Errorf("while draining: %v", err)
		}
	})
}

func TestRefusal(t *testing.T) {
	inBubble(t, func(r *rig) {
		never := cachemgr.Terms{Precisions: []string{"fp16"}, MaxBatch: 4, Fallback: api.FallbackRefuse}
		r.add("m", never)
		_, err := r.Infer(r.Context(), request("m", 1, never))
		if !errors.Is(err, cachemgr.ErrBuilding) || !strings.Contains(err.Error(), "building, 50 %") {
			r.Errorf("refused with %v", err)
		}
		if err := r.Ready("m"); !errors.Is(err, cachemgr.ErrBuilding) {
			r.Errorf("ready: %v", err)
		}
		r.add("m", cachemgr.Terms{}) // another function, which would have the CPU
		if err := r.Ready("m"); err != nil {
			r.Errorf("ready for one of them: %v", err)
		}
		r.let(nil)
		if _, err := r.Infer(r.Context(), request("m", 5, never)); !errors.Is(err, engine.ErrBadInput) {
			r.Errorf("a batch of 5: %v", err)
		}
	})
}

func TestFallsBack(t *testing.T) {
	for err, want := range map[error]bool{
		engine.ErrDeviceLost: true, engine.ErrNoMemory: true, cachemgr.ErrTooLarge: true, engine.ErrBadModel: true,
		&cachemgr.FailedError{Reason: errors.New("x")}: true, cachemgr.ErrUnknownModel: true,
		engine.ErrBadInput: false, cachemgr.ErrOverloaded: false, cachemgr.ErrClosed: false,
		context.Canceled: false, context.DeadlineExceeded: false, errors.New("another"): false,
	} {
		if fallsBack(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
		inBubble(t, func(r *rig) {
			r.add("m", terms4)
			r.let(nil)
			r.gpu.setFail(err)
			_, got := r.Infer(r.Context(), request("m", 1, terms4))
			if (got == nil) != want {
				r.Errorf("%v became %v", err, got)
			}
			refuse := terms4
			refuse.Fallback = api.FallbackRefuse
			if _, got := r.Infer(r.Context(), request("m", 1, refuse)); !errors.Is(got, err) && !errors.Is(err, engine.ErrBadModel) && !errors.Is(got, engine.ErrDeviceLost) {
				r.Errorf("%v became %v", err, got)
			}
		})
	}
}

func TestLostGPU(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		if err := r.Add(cachemgr.Model{Digest: "p", Format: engine.FormatPlan}); err != nil {
			r.Fatal(err)
		}
		r.gpu.setFail(engine.ErrDeviceLost)
		r.want("m", "cpu", terms4)
		select {
		case <-r.Lost():
		default:
			r.Error("nobody is told")
		}
		r.gpu.setFail(nil)
		r.want("m", "cpu", terms4) // the process does not get it back
		for _, fallback := range []string{api.FallbackRefuse, api.FallbackWait} {
			terms := terms4
			terms.Fallback = fallback
			_, err := r.Infer(r.Context(), request("m", 1, terms))
			if f := (*cachemgr.FailedError)(nil); !errors.As(err, &f) || !errors.Is(err, engine.ErrDeviceLost) {
				r.Errorf("%s: %v", fallback, err)
			}
		}
		if _, err := r.Infer(r.Context(), request("p", 1, cachemgr.Terms{})); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("a plan: %v", err)
		}
		if err := r.Ready("p"); !errors.Is(err, engine.ErrDeviceLost) {
			r.Errorf("a plan is ready: %v", err)
		}
		if _, err := r.Spec(r.Context(), "m"); err != nil {
			r.Errorf("the CPU describes it: %v", err)
		}
	})
}
