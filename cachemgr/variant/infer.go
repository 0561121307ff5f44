package variant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Infer runs one request with the variant that serves it best now. Errors: those
// of cachemgr.Manager.Infer, and cachemgr.ErrBuilding.
func (r *Router) Infer(ctx context.Context, q cachemgr.Request) (cachemgr.Result, error) {
	mod, v := r.find(q.Digest)
	if mod == nil {
		return r.inferPlain(ctx, q)
	}
	began := time.Now()
	a := ask{terms: normal(q.Terms, r.cfg.CPU != nil), rows: rows(q.In)}
	for {
		d := choose(a, v.options, r.node())
		switch d.action {
		case onGPU:
			res, err := r.inferOnGPU(ctx, q, mod, v.options[d.option])
			if err == nil || a.terms.Fallback != api.FallbackCPU || !fallsBack(err) {
				// What was spent here before was spent waiting.
				res.Queue = max(res.Queue, time.Since(began)-res.Swap-res.Compute)
				return res, err
			}
			return r.inferOnCPU(ctx, q, time.Since(began))
		case onCPU:
			return r.inferOnCPU(ctx, q, time.Since(began))
		case refuse:
			return cachemgr.Result{}, r.refusal(a, v)
		case await:
			if err := r.await(ctx, mod, v, began); err != nil {
				return cachemgr.Result{}, err
			}
			v = mod.view.Load()
		}
	}
}

// rows is the first dimension of a request's tensors.
func rows(in []tensor.Tensor) int {
	if len(in) == 0 || len(in[0].Shape) == 0 {
		return 1
	}
	return int(in[0].Shape[0])
}

// inferPlain runs a model that has no variants.
func (r *Router) inferPlain(ctx context.Context, q cachemgr.Request) (cachemgr.Result, error) {
	if r.plain() {
		return r.cfg.CPU.Infer(ctx, q)
	}
	if err := r.lossError(); err != nil {
		return cachemgr.Result{}, err
	}
	res, err := r.other().Infer(ctx, q)
	r.noteLoss(err)
	return res, explain(err)
}

// explain says of a plan that cannot be loaded what that usually means.
func explain(err error) error {
	if errors.Is(err, engine.ErrBadModel) {
		return fmt.Errorf("%w (a plan runs only with the version of TensorRT and on the kind of GPU that it was built for)", err)
	}
	return err
}

func (r *Router) inferOnGPU(ctx context.Context, q cachemgr.Request, mod *model, o option) (cachemgr.Result, error) {
	q.Digest = o.key
	if o.rows > 0 {
		q.MaxBatch = min(q.MaxBatch, o.rows)
	}
	res, err := r.cfg.GPU.Infer(ctx, q)
	if err != nil {
		r.noteLoss(err)
		if errors.Is(err, engine.ErrBadModel) {
			r.distrust(mod, o.key)
		}
	}
	return res, err
}

// inferOnCPU lets the ONNX file itself answer, after a request has spent some time
// already.
func (r *Router) inferOnCPU(ctx context.Context, q cachemgr.Request, spent time.Duration) (cachemgr.Result, error) {
	q.Device = ""
	res, err := r.cfg.CPU.Infer(ctx, q)
	res.Outcome = api.CacheFallback
	res.Queue += spent
	return res, err
}

// fallsBack reports whether the CPU may answer what a GPU did not: because the GPU
// cannot now, not because the request is wrong or too late.
func fallsBack(err error) bool {
	for _, no := range []error{engine.ErrBadInput, cachemgr.ErrClosed, cachemgr.ErrOverloaded, context.Canceled} {
		if errors.Is(err, no) {
			return false
		}
	}
	for _, yes := range []error{
		engine.ErrDeviceLost, engine.ErrNoMemory, engine.ErrBadModel, engine.ErrUnavailable,
		cachemgr.ErrFailed, cachemgr.ErrTooLarge, cachemgr.ErrUnknownModel,
	} {
		if errors.Is(err, yes) {
			return true
		}
	}
	return false
}

// refusal says why a request is not answered, and when it may be.
func (r *Router) refusal(a ask, v *view) error {
	if err := r.lossError(); err != nil {
		return err
	}
	for _, o := range v.options {
		if o.state == ready && o.rows > 0 && o.rows < a.rows {
			return fmt.Errorf("%w: a batch of %d: the engine takes at most %d (max_batch in model.yaml says for how many it is built)",
				engine.ErrBadInput, a.rows, o.rows)
		}
	}
	return v.building()
}

func (v *view) building() error {
	return &cachemgr.BuildingError{Progress: v.why, RetryAt: v.making.estimate(time.Now())}
}

// await returns when a model's view has changed.
func (r *Router) await(ctx context.Context, mod *model, v *view, since time.Time) error {
	left := r.cfg.QueueTimeout - time.Since(since)
	if left <= 0 {
		return fmt.Errorf("%w, after %v", v.building(), r.cfg.QueueTimeout)
	}
	if n := r.waiting.Add(1); n > int64(r.cfg.QueueDepth) {
		r.waiting.Add(-1)
		return fmt.Errorf("%d requests wait for their model's engine already: %w", n-1, cachemgr.ErrOverloaded)
	}
	defer r.waiting.Add(-1)
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-v.changed:
	case <-timer.C:
	case <-r.lost:
		return r.lossError()
	case <-ctx.Done():
		return ctx.Err()
	case <-r.draining:
		return cachemgr.ErrClosed
	case <-mod.ctx.Done():
		if r.life.Err() != nil {
			return cachemgr.ErrClosed
		}
		return fmt.Errorf("%s was removed: %w", mod.Digest, cachemgr.ErrUnknownModel)
	}
	return nil
}
