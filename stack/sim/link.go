package sim

import (
	"math"
	"time"
)

// link is the way from host memory to the devices that share it. Copies to one
// device go one after the other; copies to several go at once, and each then takes
// longer: k of them by a factor of 1 + stretch (k-1).
type link struct {
	sim     *simulation
	stretch float64
	active  []*flow
	since   time.Duration // when the remains were computed last
	changes int           // so that an event that was planned before is known as such
}

// flow is one copy. Its work is what it takes alone.
type flow struct {
	left   time.Duration
	lead   time.Duration // usable is called when so much is left
	usable func()        // nil once it was called
	done   func()
}

func (l *link) start(f *flow) {
	l.progress()
	l.active = append(l.active, f)
	l.plan()
}

// rate at which each copy goes on.
func (l *link) rate() float64 { return 1 / (1 + l.stretch*float64(len(l.active)-1)) }

// progress takes off what was copied meanwhile.
func (l *link) progress() {
	if len(l.active) > 0 {
		copied := time.Duration(float64(l.sim.now-l.since) * l.rate())
		for _, f := range l.active {
			f.left = max(0, f.left-copied)
		}
	}
	l.since = l.sim.now
}

// plan goes on when the next copy has come so far that something happens.
func (l *link) plan() {
	l.changes++
	if len(l.active) == 0 {
		return
	}
	planned, next := l.changes, time.Duration(-1)
	for _, f := range l.active {
		until := f.left
		if f.usable != nil {
			until = max(0, f.left-f.lead)
		}
		if next < 0 || until < next {
			next = until
		}
	}
	// Rounded up: what is planned has happened by then.
	l.sim.after(time.Duration(math.Ceil(float64(next)/l.rate())), func() {
		if l.changes == planned {
			l.happen()
		}
	})
}

func (l *link) happen() {
	l.progress()
	var calls []func()
	left := l.active[:0]
	for _, f := range l.active {
		if f.usable != nil && f.left <= f.lead {
			calls = append(calls, f.usable)
			f.usable = nil
		}
		if f.left > 0 || f.usable != nil {
			left = append(left, f)
		} else {
			calls = append(calls, f.done)
		}
	}
	clear(l.active[len(left):])
	l.active = left
	l.plan()
	for _, call := range calls {
		call()
	}
}
