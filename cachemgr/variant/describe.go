package variant

import (
	"context"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Spec describes a model: by a plan that is ready, else by the ONNX file. Both
// take the same, but for the largest batch. Where that is not fixed it is said to
// be unbounded: what a plan does not take the CPU does, or choose refuses it.
func (r *Router) Spec(ctx context.Context, digest string) (engine.Spec, error) {
	mod, v := r.find(digest)
	if mod == nil {
		if r.plain() {
			return r.cfg.CPU.Spec(ctx, digest)
		}
		spec, err := r.other().Spec(ctx, digest)
		r.noteLoss(err)
		return spec, explain(err)
	}
	if r.cfg.CPU != nil {
		spec, err := r.specBeside(ctx, digest, v)
		if err == nil || ctx.Err() != nil || !r.mayWait(mod) {
			return spec, err
		}
	}
	for began := time.Now(); ; v = mod.view.Load() {
		if key := firstReady(v.options); key != "" {
			return r.specOf(ctx, key)
		}
		if err := r.lossError(); err != nil {
			return engine.Spec{}, err
		}
		if never := len(v.options) == 0 && r.node().gpu; never || !r.mayWait(mod) {
			return engine.Spec{}, v.building()
		}
		if err := r.await(ctx, mod, v, began); err != nil {
			return engine.Spec{}, err
		}
	}
}

// mayWait reports whether some function would rather wait for a plan than be
// refused.
func (r *Router) mayWait(mod *model) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.ContainsFunc(mod.terms, func(t cachemgr.Terms) bool { return t.Fallback == api.FallbackWait })
}

// specOf describes a model by one of its plans.
func (r *Router) specOf(ctx context.Context, key string) (engine.Spec, error) {
	spec, err := r.cfg.GPU.Spec(ctx, key)
	r.noteLoss(err)
	if spec.MaxBatch > 0 {
		spec.MaxBatch = -1
	}
	return spec, err
}

func firstReady(options []option) string {
	for _, o := range options {
		if o.state == ready {
			return o.key
		}
	}
	return ""
}

func (r *Router) specBeside(ctx context.Context, digest string, v *view) (engine.Spec, error) {
	if key := firstReady(v.options); key != "" && r.node().gpu {
		if spec, err := r.specOf(ctx, key); err == nil || ctx.Err() != nil {
			return spec, err
		}
	}
	return r.cfg.CPU.Spec(ctx, digest)
}

// Ready says why a request for a model would be refused now, nil if it would be
// tried, on the terms of some function.
func (r *Router) Ready(digest string) error {
	mod, v := r.find(digest)
	if mod == nil {
		if err := r.lossError(); err != nil {
			return err
		}
		return r.other().Ready(digest)
	}
	r.mu.RLock()
	terms := mod.terms
	r.mu.RUnlock()
	var err error
	for _, t := range terms {
		a := ask{terms: t, rows: 1}
		switch d := choose(a, v.options, r.node()); d.action {
		case onGPU:
			err = r.cfg.GPU.Ready(v.options[d.option].key)
			if err != nil && t.Fallback == api.FallbackCPU {
				err = r.cfg.CPU.Ready(digest)
			}
		case onCPU:
			err = r.cfg.CPU.Ready(digest)
		case await:
			return nil
		case refuse:
			err = r.refusal(a, v)
		}
		if err == nil {
			return nil
		}
	}
	return err
}
