package variant

import (
	"context"
	"errors"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Pin protects the plans of a model from being victims, and the ONNX file as long
// as there is none.
func (r *Router) Pin(digest string, on bool) error {
	r.pins.Lock()
	defer r.pins.Unlock()
	r.mu.Lock()
	mod := r.models[digest]
	if mod != nil {
		mod.pinned = on
	}
	r.mu.Unlock()
	if mod == nil {
		return r.other().Pin(digest, on)
	}
	r.board.touch()
	return r.applyPin(mod)
}

// repin lets the pin of a model go to its plan that is ready now, or back to the
// file after the last one broke.
func (r *Router) repin(mod *model) {
	r.pins.Lock()
	defer r.pins.Unlock()
	if err := r.applyPin(mod); err != nil && mod.ctx.Err() == nil {
		r.cfg.Log.Warn("model not pinned", "digest", mod.Digest, "error", err)
	}
}

// applyPin pins what has to be, and nothing else of the model. The caller holds pins,
// so that the last wish is the one that counts.
func (r *Router) applyPin(mod *model) error {
	r.mu.RLock()
	known, on := r.models[mod.Digest] == mod, mod.pinned
	var keys []string
	for _, p := range mod.plans {
		if p.state == ready {
			keys = append(keys, p.key)
		}
	}
	r.mu.RUnlock()
	if !known {
		return nil
	}
	var errs []error
	for _, key := range keys {
		errs = append(errs, r.cfg.GPU.Pin(key, on))
	}
	err := errors.Join(errs...)
	if r.cfg.CPU != nil && err == nil {
		err = r.cfg.CPU.Pin(mod.Digest, on && len(keys) == 0)
	}
	return err
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
