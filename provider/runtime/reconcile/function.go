package reconcile

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const (
	// drainDelay is how long a replica goes on after it is no longer shown, so that
	// whoever chose it a moment before reaches it.
	drainDelay = 200 * time.Millisecond
	// killRetry is the time after which a replica that could not be killed is
	// killed again.
	killRetry = 5 * time.Second
)

// Function is one deployed function, or a deleted one whose replicas still stop.
type Function struct {
	all    *Set
	id     runtime.ID
	uid    string
	keeper Keeper
	want   atomic.Pointer[Want]
	wake   chan struct{} // want changed
	events chan func()   // run by run

	// All below belongs to run.
	revision int
	replicas []*replica // in the order of their start
	backoff  backoff
	inVain   int           // see runtime.Function
	failure  string        // how the last replica failed, "" once all are ready again
	tokens   map[int]token // by revision
	shown    shown
}

// NewFunction makes a function of the set. Add it once its replicas are adopted.
func (s *Set) NewFunction(id runtime.ID, uid string, keeper Keeper, w *Want) *Function {
	f := &Function{
		all: s, id: id, uid: uid, keeper: keeper,
		wake: make(chan struct{}, 1), events: make(chan func()), tokens: map[int]token{},
	}
	f.want.Store(w)
	return f
}

// Keeper is what the function was made with.
func (f *Function) Keeper() Keeper { return f.keeper }

// Want is what the function should be now.
func (f *Function) Want() *Want { return f.want.Load() }

// Change shows what a function should be, and makes it so.
func (f *Function) Change(w *Want) {
	// Shown before it is acted upon: see runtime.TokenSource.
	f.all.board.change(f.id, f.uid, func(shown *runtime.Function) {
		shown.Deployment, shown.Desired = w.Deployment, w.Desired
		if name := revisionName(f.uid, w.Revision); name != shown.Revisions[0] {
			shown.Revisions, shown.InVain = revisions(name, shown.Revisions), 0
		}
	})
	f.set(w)
}

// Adopt takes up a replica that an earlier run of this program started. It is for
// the time before Add.
func (f *Function) Adopt(r Replica) { f.take(r) }

func (f *Function) set(w *Want) {
	f.want.Store(w)
	f.nudge()
}

func (f *Function) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// post has run call do, unless ctx ends first.
func (f *Function) post(ctx context.Context, do func()) {
	select {
	case f.events <- do:
	case <-ctx.Done():
	}
}

// run makes what is what is wanted, until ctx ends, the function is deleted and
// its last replica gone, or the set stops its replicas.
func (f *Function) run(ctx context.Context) {
	defer f.detach()
	for {
		next := f.step()
		if len(f.replicas) == 0 && (f.want.Load().Deleted || f.all.stopped.Load()) {
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
func (f *Function) step() time.Time {
	for {
		w := f.want.Load()
		desired := 0
		if !w.Deleted && !f.all.stopped.Load() {
			desired = w.Desired
		}
		if !w.Deleted && w.Revision != f.revision || desired == 0 {
			f.backoff, f.failure, f.inVain = backoff{}, "", 0
		}
		if !w.Deleted {
			f.revision = w.Revision
		}
		now := time.Now()
		actions, next := plan(now, desired, f.backoff.until, f.views())
		if len(actions) == 0 {
			f.show(desired)
			return earliest(next, f.renewTokens(now))
		}
		for _, a := range actions {
			if a.verb == start {
				f.start(w)
				break // it may have taken long: what has happened meanwhile comes first
			}
			f.carryOut(a, now)
		}
		f.show(desired)
		f.catchUp()
		if f.all.ctx.Err() != nil {
			return time.Time{}
		}
	}
}

// catchUp does what was posted meanwhile.
func (f *Function) catchUp() {
	for {
		select {
		case do := <-f.events:
			do()
		default:
			return
		}
	}
}

func (f *Function) views() []view {
	views := make([]view, len(f.replicas))
	for i, r := range f.replicas {
		views[i] = view{r.info.ID, r.info.Revision != f.revision, r.health.ready, r.phase, r.info.Started, r.deadline}
	}
	return views
}

func (f *Function) carryOut(a action, now time.Time) {
	i := slices.IndexFunc(f.replicas, func(r *replica) bool { return r.info.ID == a.replica })
	r := f.replicas[i]
	switch a.verb {
	case leave:
		f.leave(r, now)
	case terminate:
		r.phase, r.deadline = stopping, now.Add(r.info.StopTimeout)
		if err := r.Terminate(); err != nil {
			f.all.config.Log.Error("ask a replica to stop", "replica", r.info.ID, "err", err)
		}
	case kill:
		f.all.config.Log.Warn("a replica did not stop in time and is killed", "replica", r.info.ID, "timeout", r.info.StopTimeout)
		if err := r.Kill(); err != nil {
			f.all.config.Log.Error("kill a replica", "replica", r.info.ID, "err", err, "again_after", killRetry)
			r.deadline = now.Add(killRetry)
			return
		}
		r.phase = killed
	}
}

func (f *Function) leave(r *replica, now time.Time) {
	r.phase, r.deadline = leaving, now.Add(drainDelay)
}

// start starts a replica, or says why it cannot.
func (f *Function) start(w *Want) {
	began := time.Now()
	value, err := f.currentToken(w.Revision, began)
	var r Replica
	if err == nil {
		r, err = w.Launch(value)
	}
	if err == nil {
		f.all.config.Log.Info("replica started", "replica", r.Info().ID, "url", r.Info().URL)
		f.take(r)
		return
	}
	f.notStarted(err, began)
}

// makeRoom lets the newest replica of the former deployment go, unless one goes
// already; false if there is none.
func (f *Function) makeRoom(now time.Time) bool {
	var newest *replica
	for _, r := range f.replicas {
		switch {
		case r.info.Revision == f.revision:
		case r.phase != up:
			return true
		default:
			newest = r
		}
	}
	if newest != nil {
		f.leave(newest, now)
	}
	return newest != nil
}

// take has a replica watched: for its end, and for its health.
func (f *Function) take(r Replica) {
	ctx, cancel := context.WithCancel(f.all.ctx)
	own := &replica{Replica: r, info: r.Info(), cancel: cancel}
	f.replicas = append(f.replicas, own)
	f.all.tasks.Go(func() {
		how, err := r.Wait(f.all.ctx)
		if f.all.ctx.Err() != nil {
			return // the set was closed, and perhaps what Wait waited with
		}
		if err != nil {
			how = "can no longer be watched: " + err.Error()
		}
		f.post(f.all.ctx, func() { f.ended(own, how) })
	})
	p := &prober{client: f.all.client, url: own.info.URL, path: "/_/ready"}
	f.all.tasks.Go(func() {
		p.watch(ctx, func(h health) {
			f.post(ctx, func() { f.heard(own, h) })
		})
	})
}

// detach lets go of replicas that run on, and tells that a function that was
// deleted has none.
func (f *Function) detach() {
	for _, r := range f.replicas {
		r.cancel()
	}
	if f.want.Load().Deleted && len(f.replicas) == 0 {
		f.keeper.Gone()
	}
}
