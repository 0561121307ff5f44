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
	if d.closed || !d.cfg.WakeFromZero {
		return
	}
	if _, underWay := d.waking[name]; underWay {
		d.waking[name] = true
		return
	}
	d.waking[name] = false
	d.wakes.Go(func() {
		for again := true; again; {
			d.scaleUp(name)
			again = d.woken(name)
		}
	})
}

// woken ends a wake. It reports whether another one was asked for meanwhile:
// this one may have failed, or may have seen what is no longer true.
func (d *Dispatcher) woken(name string) (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if again = d.waking[name] && !d.closed; again {
		d.waking[name] = false
	} else {
		delete(d.waking, name)
	}
	return again
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
