package dispatch

import (
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// alarm lets the scheduler look again at the time that it asked for. mu is held.
func (d *Dispatcher) alarm(a sched.Action) {
	time.AfterFunc(time.Until(a.At), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.closed {
			d.step(time.Now(), sched.Event{Kind: sched.Tick, Function: a.Function}, 0)
		}
	})
}
