package docker

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// keepFinished is how many containers that ended keep their logs, per function.
const keepFinished = 5

// function is one deployed function, or a deleted one whose replicas still stop.
// It is the Keeper of its actor.
type function struct {
	rt      *Runtime
	id      runtime.ID
	uid     string
	actor   *reconcile.Function
	sources atomic.Pointer[[]source]

	// Belong to whoever has the turn.
	record *record // nil if deleted
	serial int     // of the last record that was written, or may have been

	// All below belongs to the actor's goroutine.
	finished []source // containers that ended, oldest first
	image    string   // the ID of
	imageOf  int      // the image of this revision
}

// want is what a record asks for.
func (f *function) want(rec *record) *reconcile.Want {
	return &reconcile.Want{
		Deployment: rec.Deployment, CreatedAt: rec.CreatedAt, Revision: rec.Revision, Desired: rec.Desired,
		Launch: func(token []byte) (reconcile.Replica, error) { return f.launch(rec, token) },
	}
}

// findImage returns the image of a revision: that of its first replica, so that
// all its replicas are the same whatever the name means later.
func (f *function) findImage(ctx context.Context, rec *record) (imageInfo, error) {
	if f.imageOf == rec.Revision {
		image, err := f.rt.daemon.Image(ctx, f.image)
		if !errors.Is(err, errNotThere) {
			return image, err
		}
	}
	name := rec.Deployment.Request.Image
	image, err := f.rt.daemon.Image(ctx, name)
	if errors.Is(err, errNotThere) {
		if err = f.rt.pulls.fetch(f.rt.set.Context(), name); err != nil {
			return imageInfo{}, err
		}
		image, err = f.rt.daemon.Image(ctx, name)
	}
	if err != nil {
		return imageInfo{}, err
	}
	f.image, f.imageOf = image.ID, rec.Revision
	return image, nil
}

// Running tells readers of logs whose there are.
func (f *function) Running(replicas []reconcile.Replica) {
	sources := slices.Clone(f.finished)
	for _, r := range replicas {
		sources = append(sources, r.(*replica).source())
	}
	f.sources.Store(&sources)
}

// Ended removes all that a replica had but its container, which keeps the log.
func (f *function) Ended(r reconcile.Replica) string {
	rep := r.(*replica)
	ctx, cancel := f.rt.call()
	defer cancel()
	f.rt.forget(rep)
	// It may run again already: docker restart. What starts from now on is heard of as
	// a stray.
	if err := rep.Kill(); err != nil {
		f.rt.config.Log.Error("end a container", "replica", rep.info.ID, "err", err)
	}
	f.rt.gpus.give(rep.gpu)
	if err := os.RemoveAll(f.rt.replicaDir(rep.info.ID)); err != nil {
		f.rt.config.Log.Error("clean up after a replica", "replica", rep.info.ID, "err", err)
	}
	line := f.rt.lastLine(ctx, rep.source())
	f.bury(ctx, rep.source())
	return line
}

// bury keeps a container that has ended for its log, and removes the oldest of
// too many.
func (f *function) bury(ctx context.Context, s source) {
	f.finished = append(f.finished, s)
	for len(f.finished) > keepFinished {
		f.remove(ctx, f.finished[0])
		f.finished = f.finished[1:]
	}
}

func (f *function) remove(ctx context.Context, s source) {
	if err := f.rt.daemon.Remove(ctx, s.id); err != nil {
		f.rt.config.Log.Error("remove a container", "replica", s.instance, "err", err)
	}
}

// Gone removes the containers of a function that was deleted.
func (f *function) Gone() {
	ctx, cancel := f.rt.call()
	defer cancel()
	for _, s := range f.finished {
		f.remove(ctx, s)
	}
}
