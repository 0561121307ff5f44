package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const (
	// drainDelay is how long a replica goes on after it is no longer shown, so
	// that whoever chose it a moment before reaches it.
	drainDelay = 200 * time.Millisecond
	// keepFinished is how many replicas that ended keep their logs, per function.
	keepFinished = 5
)

// want is what a function should be. It never changes.
type want struct {
	record  *functionRecord // nil if deleted
	deleted bool
	release func() // of the image
}

// function is one deployed function, or a deleted one whose replicas still stop.
type function struct {
	rt     *Runtime
	id     runtime.ID
	uid    string
	want   atomic.Pointer[want]
	wake   chan struct{}               // want changed
	events chan func()                 // run by run
	logs   atomic.Pointer[[]logSource] // for readers of logs

	// All below belongs to run.
	revision int
	replicas []*replica // in the order of their start
	finished []*replicaRecord
	backoff  backoff
	failure  string        // how the last replica failed, "" once all are ready again
	tokens   map[int]token // by revision
	shown    shown
}

func newFunction(r *Runtime, id runtime.ID, uid string, w *want) *function {
	f := &function{rt: r, id: id, uid: uid, wake: make(chan struct{}, 1), events: make(chan func()), tokens: map[int]token{}}
	f.want.Store(w)
	f.logs.Store(&[]logSource{})
	return f
}

// set changes what is wanted.
func (f *function) set(w *want) {
	f.want.Store(w)
	f.nudge()
}

func (f *function) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// post has run call do, unless ctx ends first.
func (f *function) post(ctx context.Context, do func()) {
	select {
	case f.events <- do:
	case <-ctx.Done():
	}
}

// adopt takes up replicas from the journal before run is started.
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
		f.replicas = append(f.replicas, rep)
		f.watch(rep)
	}
}

// run makes what is what is wanted, until ctx ends, the function is deleted and
// its last replica gone, or the runtime stops its replicas.
func (f *function) run(ctx context.Context) {
	defer f.detach()
	for {
		next := f.step()
		if len(f.replicas) == 0 && (f.want.Load().deleted || f.rt.stopped.Load()) {
			return
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case do := <-f.events:
			do()
		case <-timer:
		}
	}
}

// step does all that is to do now, shows the result, and returns when to look
// again.
func (f *function) step() time.Time {
	for {
		w := f.want.Load()
		desired := 0
		if !w.deleted && !f.rt.stopped.Load() {
			desired = w.record.Desired
		}
		if w.record != nil && w.record.Revision != f.revision || desired == 0 {
			f.backoff, f.failure = backoff{}, ""
		}
		if w.record != nil {
			f.revision = w.record.Revision
		}
		now := time.Now()
		actions, next := plan(now, desired, f.backoff.until, f.views())
		if len(actions) == 0 {
			f.show(desired)
			return earliest(next, f.renewTokens(now))
		}
		for _, a := range actions {
			f.carryOut(a, w.record, now)
		}
	}
}

func (f *function) views() []view {
	views := make([]view, len(f.replicas))
	for i, r := range f.replicas {
		views[i] = view{r.record.ID, r.record.Revision != f.revision, r.health.ready, r.phase, r.record.Started, r.deadline}
	}
	return views
}

func (f *function) carryOut(a action, record *functionRecord, now time.Time) {
	if a.verb == start {
		f.start(record)
		return
	}
	i := slices.IndexFunc(f.replicas, func(r *replica) bool { return r.record.ID == a.replica })
	r := f.replicas[i]
	switch a.verb {
	case leave:
		r.phase, r.deadline = leaving, now.Add(drainDelay)
	case terminate:
		r.phase, r.deadline = stopping, now.Add(r.record.StopTimeout)
		f.signal(r, syscall.SIGTERM)
	case kill:
		r.phase = killed
		f.rt.config.Log.Warn("a replica did not stop in time and is killed", "replica", r.record.ID, "timeout", r.record.StopTimeout)
		f.signal(r, syscall.SIGKILL)
	}
}

// signal asks the watchdog, which passes it on after it has drained; its other
// processes end with it (see ended).
func (f *function) signal(r *replica, s syscall.Signal) {
	if err := r.process.signal(s); err != nil && !errors.Is(err, syscall.ESRCH) {
		f.rt.config.Log.Error("signal a replica", "replica", r.record.ID, "signal", s, "err", err)
	}
}

func (f *function) start(record *functionRecord) {
	began := time.Now()
	value, err := f.currentToken(record.Revision, began)
	var r *replica
	if err == nil {
		r, err = f.rt.launch(record, value)
	}
	if err != nil {
		f.backoff.failed(time.Now(), began)
		f.failure = startFailure(err, f.backoff)
		f.rt.config.Log.Error("a replica cannot be started", "function", f.id, "err", err)
		return
	}
	f.rt.config.Log.Info("replica started", "replica", r.record.ID, "pid", r.record.PID, "port", r.record.Port)
	f.replicas = append(f.replicas, r)
	f.watch(r)
}

// watch waits for the end of a replica and asks for its health.
func (f *function) watch(r *replica) {
	ctx, cancel := context.WithCancel(f.rt.ctx)
	r.cancel = cancel
	f.rt.tasks.Go(func() {
		how, err := r.process.wait()
		if f.rt.ctx.Err() != nil {
			return // the runtime was closed, and the handle with it
		}
		if err != nil {
			how = "can no longer be watched: " + err.Error()
		}
		f.post(f.rt.ctx, func() { f.ended(r, how) })
	})
	p := &prober{client: f.rt.client, url: f.rt.url(r.record.Port), path: "/_/ready"}
	f.rt.tasks.Go(func() {
		p.watch(ctx, func(h health) {
			f.post(ctx, func() { r.health = h })
		})
	})
}

// ended cleans up after a replica whose watchdog ended.
func (f *function) ended(r *replica, how string) {
	r.cancel()
	f.bury(r.record)
	if err := f.rt.free(r); err != nil {
		f.rt.config.Log.Error("clean up after a replica", "replica", r.record.ID, "err", err)
	}
	f.replicas = slices.DeleteFunc(f.replicas, func(other *replica) bool { return other == r })
	if r.phase != up {
		f.rt.config.Log.Info("replica stopped", "replica", r.record.ID)
		return
	}
	now := time.Now()
	f.backoff.failed(now, r.record.Started)
	f.failure = endFailure(r.record, how, lastLine(f.rt.journal.replicaDir(r.record.ID)), now, f.backoff)
	f.rt.config.Log.Warn("a replica ended by itself", "replica", r.record.ID, "how", how)
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

// detach lets go of replicas that run on, and removes all of a function that was
// deleted and has none.
func (f *function) detach() {
	for _, r := range f.replicas {
		r.cancel()
		r.process.close()
	}
	w := f.want.Load()
	if !w.deleted || len(f.replicas) > 0 {
		return
	}
	for _, record := range f.finished {
		if err := os.RemoveAll(f.rt.journal.replicaDir(record.ID)); err != nil {
			f.rt.config.Log.Error("remove a replica's folder", "replica", record.ID, "err", err)
		}
	}
	w.release()
}
