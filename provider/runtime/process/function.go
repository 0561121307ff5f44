package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// keepFinished is how many replicas that ended keep their logs, per function.
const keepFinished = 5

// function is one deployed function, or a deleted one whose replicas still stop.
// It is the Keeper of its actor.
type function struct {
	rt    *Runtime
	id    runtime.ID
	actor *reconcile.Function
	logs  atomic.Pointer[[]logSource] // for readers of logs

	// Belong to whoever has the turn.
	record  *functionRecord // nil if deleted
	release func()          // of the image

	// Belongs to the actor's goroutine.
	finished []*replicaRecord
}

// newFunction makes a function of a record, or of none if it was deleted.
func (r *Runtime) newFunction(id runtime.ID, uid string, record *functionRecord, release func()) *function {
	f := &function{rt: r, id: id, record: record, release: release}
	f.logs.Store(&[]logSource{})
	want := &reconcile.Want{Deleted: true}
	if record != nil {
		want = f.want(record)
	}
	f.actor = r.set.NewFunction(id, uid, f, want)
	return f
}

// want is what a record asks for.
func (f *function) want(record *functionRecord) *reconcile.Want {
	return &reconcile.Want{
		Deployment: record.Deployment, CreatedAt: record.CreatedAt, Revision: record.Revision, Desired: record.Desired,
		Launch: func(token []byte) (reconcile.Replica, error) {
			r, err := f.rt.launch(record, token)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	}
}

// adopt takes up replicas from the journal.
func (f *function) adopt(records []*replicaRecord) {
	slices.SortFunc(records, func(a, b *replicaRecord) int { return a.Started.Compare(b.Started) })
	for _, record := range records {
		if !record.Ended.IsZero() {
			f.finished = append(f.finished, record)
			continue
		}
		rep, err := f.rt.readopt(record)
		if err != nil {
			f.rt.config.Log.Info("a replica ended meanwhile", "replica", record.ID, "why", err)
			f.bury(*record)
			continue
		}
		f.actor.Adopt(rep)
	}
}

// Running tells readers whose logs there are.
func (f *function) Running(replicas []reconcile.Replica) {
	var sources []logSource
	for _, record := range f.finished {
		sources = append(sources, logSource{record.ID, f.rt.journal.replicaDir(record.ID), record.Started, true})
	}
	for _, r := range replicas {
		record := &r.(*replica).record
		sources = append(sources, logSource{record.ID, f.rt.journal.replicaDir(record.ID), record.Started, false})
	}
	f.logs.Store(&sources)
}

// Ended cleans up after a replica whose watchdog ended.
func (f *function) Ended(r reconcile.Replica) string {
	rep := r.(*replica)
	f.bury(rep.record)
	if err := f.rt.free(rep); err != nil {
		f.rt.config.Log.Error("clean up after a replica", "replica", rep.record.ID, "err", err)
	}
	return lastLine(f.rt.journal.replicaDir(rep.record.ID))
}

// bury ends what a replica left running and keeps only its logs, those of the
// last few.
func (f *function) bury(record replicaRecord) {
	killMarked(record.ID)
	dir := f.rt.journal.replicaDir(record.ID)
	record.Ended = time.Now()
	err := errors.Join(
		os.RemoveAll(filepath.Join(dir, "tmp")),
		os.RemoveAll(filepath.Join(dir, "secrets")),
		f.rt.journal.saveReplica(&record),
	)
	f.finished = append(f.finished, &record)
	for len(f.finished) > keepFinished {
		err = errors.Join(err, os.RemoveAll(f.rt.journal.replicaDir(f.finished[0].ID)))
		f.finished = f.finished[1:]
	}
	if err != nil {
		f.rt.config.Log.Error("clean up after a replica", "replica", record.ID, "err", err)
	}
}

// Gone removes all of a function that was deleted.
func (f *function) Gone() {
	for _, record := range f.finished {
		if err := os.RemoveAll(f.rt.journal.replicaDir(record.ID)); err != nil {
			f.rt.config.Log.Error("remove a replica's folder", "replica", record.ID, "err", err)
		}
	}
	f.release()
}
