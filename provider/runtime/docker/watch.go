package docker

import (
	"errors"
	"fmt"
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
		listening := func() error {
			err := r.compare()
			if err == nil {
				said = ""
			}
			return err
		}
		err := r.daemon.Watch(ctx, r.config.Name, listening, r.hear)
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

// hear acts on what happened to a container.
func (r *Runtime) hear(e event) {
	switch rep := r.replica(e.ID); {
	case e.Started:
		// A replica is known before it starts.
		if rep == nil {
			r.endStray(e.ID)
		}
	case rep != nil:
		rep.hasDied()
	}
}

// endStray ends a container that is no replica, if it runs: somebody has started one
// again that is kept for its log, or whose place another took meanwhile, such as by
// docker restart. It would take memory, or a GPU, that others are promised.
func (r *Runtime) endStray(id string) {
	ctx, cancel := r.call()
	defer cancel()
	// Events are told twice after a connection was lost, of what has ended too.
	if c, err := r.daemon.Inspect(ctx, id); err == nil && !c.alive() || errors.Is(err, errNotThere) {
		return
	}
	r.config.Log.Warn("a container that is no replica any more was started, and is ended", "container", id)
	if err := r.daemon.Signal(ctx, id, "SIGKILL"); err != nil {
		r.config.Log.Error("end a container", "container", id, "err", err)
	}
}

// compare finds what happened to containers while nobody listened.
func (r *Runtime) compare() error {
	ctx, cancel := r.call()
	defer cancel()
	known := r.allReplicas() // first: those that come meanwhile are not in the list
	list, err := r.daemon.Containers(ctx, r.config.Name)
	if err != nil {
		return fmt.Errorf("list the containers: %w", err)
	}
	alive := map[string]bool{}
	for _, c := range list {
		alive[c.ID] = c.alive()
		// Whatever runs and is a replica is known by now.
		if c.alive() && c.State != "created" && r.replica(c.ID) == nil {
			r.endStray(c.ID)
		}
	}
	for _, rep := range known {
		if !alive[rep.id] {
			rep.hasDied()
		}
	}
	return nil
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
