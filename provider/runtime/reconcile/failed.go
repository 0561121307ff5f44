package reconcile

import (
	"errors"
	"slices"
	"time"
)

// notStarted says why a replica was not started, and when that is tried again.
func (f *Function) notStarted(err error, began time.Time) {
	if later := (Later{}); errors.As(err, &later) {
		f.failure, f.backoff.until = later.Why, later.At
		return
	}
	if errors.Is(err, ErrNoRoom) && f.makeRoom(began) {
		f.failure, f.backoff.until = "a replica of the former deployment leaves first: "+err.Error(), began.Add(2*drainDelay)
		return
	}
	f.failed(time.Now(), began, false)
	f.failure = startFailure(err, f.backoff)
	f.all.config.Log.Error("a replica cannot be started", "function", f.id, "err", err)
}

// heard takes note of what a replica says of itself.
func (f *Function) heard(r *replica, h health) {
	r.health = h
	if h.ready && r.info.Revision == f.revision {
		r.served, f.inVain = true, 0
	}
}

// failed takes note of a replica that was started at began and ended now, or did not
// start. served: it was ready meanwhile. Those that end together count once.
func (f *Function) failed(now, began time.Time, served bool) {
	before := f.backoff.last
	f.backoff.failed(now, began)
	if !served && f.backoff.last != before {
		f.inVain++
	}
}

// ended cleans up after a replica.
func (f *Function) ended(r *replica, how string) {
	r.cancel()
	line := f.keeper.Ended(r.Replica)
	f.replicas = slices.DeleteFunc(f.replicas, func(other *replica) bool { return other == r })
	if r.phase != up {
		f.all.config.Log.Info("replica stopped", "replica", r.info.ID)
		return
	}
	now := time.Now()
	f.failed(now, r.info.Started, r.served)
	f.failure = endFailure(r.info, how, line, now, f.backoff)
	f.all.config.Log.Warn("a replica ended by itself", "replica", r.info.ID, "how", how)
}
