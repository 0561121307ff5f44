package docker

import (
	"time"
)

const (
	// watchRetry is the time between attempts to listen to a daemon that is gone.
	watchRetry = time.Second
	// usageInterval is the time between samples of what replicas use.
	usageInterval = 10 * time.Second
)

// watch learns from the daemon which containers end, until the runtime is closed.
func (r *Runtime) watch() {
	ctx := r.set.Context()
	said := ""
	for ctx.Err() == nil {
		listening := func() {
			if r.compare() {
				said = ""
			}
		}
		err := r.daemon.Watch(ctx, r.config.Name, listening, func(id string) {
			if rep := r.replica(id); rep != nil {
				rep.hasDied()
			}
		})
		if ctx.Err() != nil {
			return
		}
		if said != err.Error() { // once, and not every second
			said = err.Error()
			r.config.Log.Warn("the connection to the daemon is lost and made again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchRetry):
		}
	}
}

// compare finds the replicas that ended while nobody listened; false if the daemon
// does not answer.
func (r *Runtime) compare() bool {
	ctx, cancel := r.call()
	defer cancel()
	known := r.allReplicas() // first: those that come meanwhile are not in the list
	list, err := r.daemon.Containers(ctx, r.config.Name)
	if err != nil {
		r.config.Log.Debug("the daemon does not list its containers", "err", err)
		return false
	}
	alive := map[string]bool{}
	for _, c := range list {
		alive[c.ID] = c.alive()
	}
	for _, rep := range known {
		if !alive[rep.id] {
			rep.hasDied()
		}
	}
	return true
}

// sampleUsage measures all replicas again and again, so that nobody who asks what
// they use has to wait for the daemon.
func (r *Runtime) sampleUsage() {
	ctx := r.set.Context()
	tick := time.NewTicker(usageInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, rep := range r.allReplicas() {
			callCtx, cancel := r.call()
			u, err := r.daemon.Usage(callCtx, rep.id)
			cancel()
			if err == nil { // else it has just ended
				rep.meter.add(u)
			}
		}
	}
}
