package variant

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/build"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// plan is one that a model should have. Guarded by Router.mu, but for broken.
type plan struct {
	option
	making
	broken chan struct{} // told when the plan turned out to be no good
}

// planKey names a plan at the GPUs' manager.
func planKey(id string) string { return "plan:" + id }

// String says what is with a plan that is not ready.
func (p *plan) String() string {
	what := fmt.Sprintf("%s, batch %d: ", p.precision, p.batch)
	if p.err != nil {
		return what + p.err.Error()
	}
	return what + p.progress.String()
}

// ensure starts a goroutine for each plan that a model lacks. The caller holds mu.
func (r *Router) ensure(mod *model) {
	if r.cfg.GPU == nil || r.cfg.Builder == nil || mod.ctx.Err() != nil {
		return
	}
	options := make([]option, len(mod.plans))
	for i, p := range mod.plans {
		options[i] = p.option
	}
	former := r.ending[mod.Digest]
	for _, o := range wanted(mod.terms, options) {
		if len(mod.plans) >= mostPlans {
			r.cfg.Log.Warn("no plan: there are as many of this file as there may be", "digest", mod.Digest, "precision", o.precision, "batch", o.batch, "limit", mostPlans)
			return
		}
		p := &plan{option: o, broken: make(chan struct{}, 1)}
		p.progress, p.began = build.Progress{Phase: build.PhaseStart, Fraction: -1}, time.Now()
		mod.plans = append(mod.plans, p)
		mod.builds.Add(1)
		r.tasks.Go(func() {
			defer mod.builds.Done()
			if former != nil { // it still has the plan under the same key
				former.builds.Wait()
			}
			r.keep(mod, p)
		})
	}
}

// keep has a plan built and lets requests use it, until the model is forgotten.
func (r *Router) keep(mod *model, p *plan) {
	for failures := 0; ; failures++ {
		made, err := r.bring(mod, p)
		if err == nil {
			failures = 0
			r.change(mod, p, func() { p.state, p.key, p.rows, p.err = ready, planKey(made.ID), made.Rows, nil })
			r.repin(mod)
			select {
			case <-p.broken:
				r.change(mod, p, func() {
					p.state = discards
					select {
					case <-p.broken: // somebody else has found out meanwhile
					default:
					}
				})
				r.repin(mod)
				r.drop(made, true)
				err = fmt.Errorf("%w: the plan could not be loaded any more", engine.ErrBadModel)
			case <-mod.ctx.Done():
				r.drop(made, false)
				return
			}
		}
		if mod.ctx.Err() != nil {
			return
		}
		if !r.pause(mod, p, failures, err) {
			return
		}
	}
}

// pause waits until a plan is tried again; false is the end.
func (r *Router) pause(mod *model, p *plan, failures int, err error) bool {
	wait := backoff(failures, r.cfg.RetryMin, r.cfg.RetryMax)
	next := failed
	if errors.Is(err, engine.ErrBadModel) && p.state != discards {
		next, wait = unbuilt, r.cfg.RetryMax
	}
	retryAt := time.Now().Add(wait)
	r.cfg.Log.Warn("no plan", "digest", mod.Digest, "precision", p.precision, "batch", p.batch, "retry_at", retryAt, "error", err)
	r.change(mod, p, func() {
		p.state, p.err, p.retryAt = next, err, retryAt
		r.ensure(mod)
	})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-mod.ctx.Done():
		return false
	}
	r.change(mod, p, func() {
		if p.state == failed { // who is unbuilt stays so, that the next precision stays wanted
			p.state, p.err = coming, nil
		}
	})
	return true
}

// backoff doubles with every failure in a row.
func backoff(failures int, first, last time.Duration) time.Duration {
	wait := first
	for ; failures > 0 && wait < last; failures-- {
		wait *= 2
	}
	return min(wait, last)
}

// change changes a plan and shows it.
func (r *Router) change(mod *model, p *plan, how func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how()
	r.show(mod)
}

// bring has a plan built, unless it is there, and makes sure that it can stand in
// for the ONNX file.
func (r *Router) bring(mod *model, p *plan) (build.Plan, error) {
	r.mu.RLock()
	want := build.Want{Digest: mod.Digest, ONNX: mod.Path, Precision: p.precision, Batch: p.batch}
	name := mod.Name
	r.mu.RUnlock()
	made, err := r.cfg.Builder.Build(mod.ctx, want, func(pr build.Progress) { r.report(mod, p, pr) })
	if err != nil {
		return made, err
	}
	key := planKey(made.ID)
	err = r.cfg.GPU.Add(cachemgr.Model{Digest: key, Name: name, Path: made.Path, Format: engine.FormatPlan, Size: made.Size})
	if err == nil && !made.Proven {
		made.Rows, err = r.prove(mod, key)
		if err == nil {
			err = r.cfg.Builder.Prove(made)
		}
	}
	if err != nil {
		r.drop(made, errors.Is(err, engine.ErrBadModel))
		return made, err
	}
	r.loadAsModel(mod, key)
	return made, nil
}

// loadAsModel makes a plan resident, if its model was wanted so before.
func (r *Router) loadAsModel(mod *model, key string) {
	r.mu.RLock()
	loaded := mod.loaded
	r.mu.RUnlock()
	if !loaded {
		return
	}
	err := r.cfg.GPU.Load(mod.ctx, key, "")
	r.noteLoss(err)
	if err != nil && mod.ctx.Err() == nil {
		r.cfg.Log.Warn("plan not loaded ahead of use", "digest", mod.Digest, "error", err)
	}
}

// drop takes a plan away from the GPUs, and deletes it if it is no good.
func (r *Router) drop(made build.Plan, noGood bool) {
	err := r.cfg.GPU.Forget(planKey(made.ID))
	if noGood {
		err = errors.Join(err, r.cfg.Builder.Discard(made))
	} else {
		r.cfg.Builder.Release(made)
	}
	if err != nil {
		r.cfg.Log.Warn("plan not given up", "plan", made.ID, "error", err)
	}
}

// report shows the progress of a build, but not every step of it.
func (r *Router) report(mod *model, p *plan, now build.Progress) {
	r.mu.RLock()
	same := p.progress.String() == now.String()
	r.mu.RUnlock()
	if same {
		return
	}
	r.change(mod, p, func() {
		if p.progress.Phase != now.Phase {
			p.began = time.Now()
		}
		p.progress = now
	})
}

// prove loads a plan and holds it against the ONNX file; it returns the most rows
// that a request may have, 0 where shapes are fixed. Nobody has to wait for this.
func (r *Router) prove(mod *model, key string) (rows int, err error) {
	if err := r.cfg.GPU.Load(mod.ctx, key, ""); err != nil {
		r.noteLoss(err)
		return 0, err
	}
	got, err := r.cfg.GPU.Spec(mod.ctx, key)
	if err != nil || r.cfg.CPU == nil {
		return max(got.MaxBatch, 0), err
	}
	want, err := r.cfg.CPU.Spec(mod.ctx, mod.Digest)
	if mod.ctx.Err() != nil {
		return 0, err
	}
	if err != nil { // too large for it, for example; then it cannot stand in either
		r.cfg.Log.Warn("plan not held against its file", "digest", mod.Digest, "error", err)
		return max(got.MaxBatch, 0), nil
	}
	if err := errors.Join(sameTensors("input", want.Inputs, got.Inputs), sameTensors("output", want.Outputs, got.Outputs)); err != nil {
		return 0, fmt.Errorf("%w: the plan is not the file: %w", engine.ErrBadModel, err)
	}
	return max(got.MaxBatch, 0), nil
}

// sameTensors holds what a plan takes or gives against what its file does: callers
// must not notice which of them answers. A plan may give more.
func sameTensors(what string, want, got []tensor.Spec) error {
	for _, w := range want {
		i := slices.IndexFunc(got, func(g tensor.Spec) bool { return g.Name == w.Name })
		switch {
		case i < 0:
			return fmt.Errorf("it has no %s %q", what, w.Name)
		case got[i].Datatype != w.Datatype:
			return fmt.Errorf("its %s %q is %s, and %s in the file", what, w.Name, got[i].Datatype, w.Datatype)
		case len(got[i].Shape) != len(w.Shape):
			return fmt.Errorf("its %s %q has %d dimensions, and %d in the file", what, w.Name, len(got[i].Shape), len(w.Shape))
		}
	}
	if what == "input" && len(got) != len(want) {
		return fmt.Errorf("it takes %d inputs, and the file %d", len(got), len(want))
	}
	return nil
}

// distrust has a plan made anew that cannot be loaded any more.
func (r *Router) distrust(mod *model, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range mod.plans {
		if p.key == key && p.state == ready {
			select {
			case p.broken <- struct{}{}:
			default: // told already
			}
		}
	}
}

// isPlanKey reports whether a key of the GPUs' manager is that of a plan made here.
func isPlanKey(key string) bool { return strings.HasPrefix(key, planKey("")) }
