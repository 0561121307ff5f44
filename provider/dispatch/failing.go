package dispatch

import (
	"errors"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// vainStarts is after how many of them nobody has to wait for the next one. They
// are a second, two and four apart.
const vainStarts = 3

// failing reports whether a function's replicas fail again and again, and there is
// none that is ready: its requests would wait for nothing.
func failing(f *runtime.Function) bool {
	return f.InVain >= vainStarts && f.Desired > 0 && function.ReadyReplicas(f) == 0
}

// refused is what a request for f is told that was refused with err: to the
// scheduler, a function that fails is one without replicas.
func (d *Dispatcher) refused(f *Function, err error) error {
	now := d.cfg.Runtime.Snapshot().Functions[f.Spec.ID]
	if errors.Is(err, ErrNoReplica) && now != nil && failing(now) {
		err = ErrFailing
	}
	return d.explainError(f, err)
}

// stillFailing looks again: f may have been updated a moment ago.
func (d *Dispatcher) stillFailing(f *Function) bool {
	d.follow()
	now := (*d.functions.Load())[f.Spec.ID]
	return now == nil || now.failing
}
