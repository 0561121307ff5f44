package variant

import (
	"context"
	"errors"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Pin protects the plans of a model from being victims, and the ONNX file as long
// as there is none.
func (r *Router) Pin(digest string, on bool) error {
	r.mu.Lock()
	mod := r.models[digest]
	if mod == nil {
		r.mu.Unlock()
		return r.other().Pin(digest, on)
	}
	mod.pinned = on
	var keys []string
	for _, p := range mod.plans {
		if p.state == ready {
			keys = append(keys, p.key)
		}
	}
	r.mu.Unlock()
	r.board.touch()
	if len(keys) == 0 && r.cfg.CPU != nil {
		return r.cfg.CPU.Pin(digest, on)
	}
	var errs []error
	for _, key := range keys {
		errs = append(errs, r.cfg.GPU.Pin(key, on))
	}
	return errors.Join(errs...)
}

// other is the manager of models that have no variants.
func (r *Router) other() Manager {
	if r.cfg.GPU != nil {
		return r.cfg.GPU
	}
	return r.cfg.CPU
}

// Unload evicts a model from all devices and from host memory, in all variants.
func (r *Router) Unload(ctx context.Context, digest string) error {
	mod, v := r.find(digest)
	if mod == nil {
		return r.other().Unload(ctx, digest)
	}
	var errs []error
	for _, o := range v.options {
		if o.state == ready {
			errs = append(errs, r.cfg.GPU.Unload(ctx, o.key))
		}
	}
	if r.cfg.CPU != nil {
		errs = append(errs, r.cfg.CPU.Unload(ctx, digest))
	}
	return errors.Join(errs...)
}

// Load makes a model resident in the variant that a request would get now, and
// later in the plan that is not ready yet.
func (r *Router) Load(ctx context.Context, digest string, device engine.DeviceID) error {
	mod, v := r.find(digest)
	if mod == nil {
		if r.plain() {
			return r.cfg.CPU.Load(ctx, digest, device)
		}
		err := r.other().Load(ctx, digest, device)
		r.noteLoss(err)
		return explain(err)
	}
	if key := firstReady(v.options); key != "" && r.node().gpu {
		err := r.cfg.GPU.Load(ctx, key, device)
		r.noteLoss(err)
		return err
	}
	r.mu.Lock()
	mod.loaded = true
	r.mu.Unlock()
	if r.cfg.CPU == nil {
		return v.building()
	}
	return r.cfg.CPU.Load(ctx, digest, device)
}
