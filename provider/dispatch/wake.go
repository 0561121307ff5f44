package dispatch

import (
	"context"
	"time"
)

// wakeTimeout is how long a runtime may take to note down that a function is
// wanted; starting it is another matter.
const wakeTimeout = 10 * time.Second

// wake starts the function of that name, once at a time. mu is held.
func (d *Dispatcher) wake(name string) {
	if d.waking[name] || d.closed || !d.cfg.WakeFromZero {
		return
	}
	d.waking[name] = true
	d.wakes.Go(func() {
		d.scaleUp(name)
		d.mu.Lock()
		delete(d.waking, name)
		d.mu.Unlock()
	})
}

// scaleUp asks for the function's replicas if none is wanted now.
func (d *Dispatcher) scaleUp(name string) {
	f := d.find(name)
	if f == nil {
		return
	}
	now := d.cfg.Runtime.Snapshot().Functions[f.Spec.ID]
	if now == nil || now.Desired > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, wakeTimeout)
	defer cancel()
	replicas := max(1, f.Spec.Scale.Min)
	if err := d.cfg.Runtime.Scale(ctx, f.Spec.ID, replicas); err != nil {
		d.cfg.Log.Error("function not woken", "function", name, "error", err)
		return
	}
	d.cfg.Log.Info("function woken by a request", "function", name, "replicas", replicas)
	d.mu.Lock()
	d.stats.Wakes++
	d.mu.Unlock()
}

func (d *Dispatcher) find(name string) *Function {
	for _, f := range *d.functions.Load() {
		if f.Key == name {
			return f
		}
	}
	return nil
}
