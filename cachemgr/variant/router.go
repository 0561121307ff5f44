package variant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/build"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Manager is the cache of one engine, as *cachemgr.Manager is.
type Manager interface {
	Infer(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error)
	Spec(ctx context.Context, digest string) (engine.Spec, error)
	Ready(digest string) error
	Add(m cachemgr.Model) error
	Forget(digest string) error
	Pin(digest string, on bool) error
	Load(ctx context.Context, digest string, device engine.DeviceID) error
	Unload(ctx context.Context, digest string) error
	Status() cachemgr.Status
	Changed(after uint64) <-chan struct{}
}

// Builder makes plans, as *build.Builder does.
type Builder interface {
	Build(ctx context.Context, w build.Want, report func(build.Progress)) (build.Plan, error)
	Prove(p build.Plan) error
	Release(p build.Plan)
	Discard(p build.Plan) error
}

// Config of a Router. CPU or GPU is needed, and Log.
type Config struct {
	CPU     Manager // nil: nothing stands in for GPUs
	GPU     Manager // nil: there is none
	NoGPU   error   // why there is none where one should be: what the CPU does is a fallback then
	Builder Builder // nil: ONNX files are not made into plans

	Device engine.DeviceID // of a GPU, to show what is built for it

	QueueTimeout       time.Duration // how long a request waits for a plan; 0: 30 s
	QueueDepth         int           // how many may wait; 0: 256
	RetryMin, RetryMax time.Duration // between attempts to build; 0: 30 s and 1 h

	Log *slog.Logger
}

// Router sends each request to the engine that serves it best. Its methods are
// those of a Manager; call Close at the end, before the managers are closed.
type Router struct {
	cfg   Config
	life  context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	waiting  atomic.Int64 // requests that wait for a plan
	draining chan struct{}
	drain    sync.Once
	lost     chan struct{}
	loss     atomic.Pointer[error] // why the GPUs are gone

	pins sync.Mutex // one change of pins at a time; taken before mu

	mu     sync.RWMutex
	models map[string]*model
	ending map[string]*model // forgotten, and some plan's goroutine is not done

	board board
}

// model is a file that functions brought. All but view is guarded by Router.mu.
type model struct {
	cachemgr.Model
	terms  []cachemgr.Terms // those of all functions, normal and different
	pinned bool
	loaded bool // somebody wanted it resident before there was a plan
	plans  []*plan

	ctx    context.Context // of its plans' goroutines
	cancel context.CancelFunc
	builds sync.WaitGroup

	view atomic.Pointer[view]
}

// view is a model as requests see it. It is not changed but replaced.
type view struct {
	options []option
	why     string        // there is no plan yet
	making  making        // of the plan that there may be
	changed chan struct{} // closed when there is another view
}

// New makes a router.
func New(c Config) (*Router, error) {
	if c.CPU == nil && c.GPU == nil || c.Log == nil {
		return nil, errors.New("variant: CPU or GPU, and Log are needed")
	}
	orDefault(&c.QueueTimeout, 30*time.Second)
	orDefault(&c.QueueDepth, 256)
	orDefault(&c.RetryMin, 30*time.Second)
	orDefault(&c.RetryMax, time.Hour)
	r := &Router{cfg: c, models: map[string]*model{}, ending: map[string]*model{}, lost: make(chan struct{}), draining: make(chan struct{})}
	r.life, r.stop = context.WithCancel(context.Background())
	r.board.changed = make(chan struct{})
	return r, nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Drain ends the wait of requests for a plan, which may take longer than all other
// requests together.
func (r *Router) Drain() { r.drain.Do(func() { close(r.draining) }) }

// Close ends the building of plans and waits for that. Requests that wait for a
// plan get cachemgr.ErrClosed.
func (r *Router) Close() {
	r.Drain()
	r.stop()
	r.tasks.Wait()
}

// plain: GPUs are not spoken of on this node; everything is the CPU's.
func (r *Router) plain() bool { return r.cfg.GPU == nil && r.cfg.NoGPU == nil }

// Add makes a model known, for the terms that come with it and those of earlier
// calls. engine.ErrUnavailable: a plan, and no GPU.
func (r *Router) Add(m cachemgr.Model) error {
	switch {
	case m.Format == engine.FormatPlan && r.cfg.GPU == nil:
		return fmt.Errorf("%w: a plan runs on GPUs only, and this node has none", engine.ErrUnavailable)
	case m.Format == engine.FormatPlan:
		return r.cfg.GPU.Add(m)
	}
	if r.cfg.CPU != nil {
		if err := r.cfg.CPU.Add(m); err != nil || r.plain() {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		return cachemgr.ErrClosed
	}
	mod := r.models[m.Digest]
	if mod == nil {
		mod = &model{}
		mod.ctx, mod.cancel = context.WithCancel(r.life)
		r.models[m.Digest] = mod
	}
	mod.Model = m
	mod.wantAlso(normal(m.Terms, r.cfg.CPU != nil))
	r.ensure(mod)
	r.show(mod)
	return nil
}

// mostTerms is on how many different terms a file has plans. Functions come and go,
// and change theirs: then the first are forgotten. mostPlans is how many it has.
const (
	mostTerms = 16
	mostPlans = 16
)

// wantAlso adds the terms of a function, as the latest.
func (mod *model) wantAlso(terms cachemgr.Terms) {
	// Not in place: who reads the terms may have let go of the lock.
	kept := slices.DeleteFunc(slices.Clone(mod.terms), func(t cachemgr.Terms) bool { return reflect.DeepEqual(t, terms) })
	if len(kept) == mostTerms {
		kept = kept[1:]
	}
	mod.terms = append(kept, terms)
}

// Forget removes a model with all its plans.
func (r *Router) Forget(digest string) error {
	r.mu.Lock()
	if mod := r.models[digest]; mod != nil {
		delete(r.models, digest)
		mod.cancel()
		r.ending[digest] = mod
		r.tasks.Go(func() { r.bury(mod) })
	}
	r.mu.Unlock()
	r.board.touch()
	var errs []error
	for _, m := range []Manager{r.cfg.CPU, r.cfg.GPU} {
		if m != nil {
			errs = append(errs, m.Forget(digest))
		}
	}
	return errors.Join(errs...)
}

// bury waits until the goroutines of a forgotten model are done.
func (r *Router) bury(mod *model) {
	mod.builds.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending[mod.Digest] == mod {
		delete(r.ending, mod.Digest)
	}
}

// find is a model that was brought as ONNX, and its view; nil for any other.
func (r *Router) find(digest string) (*model, *view) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	mod := r.models[digest]
	if mod == nil {
		return nil, nil
	}
	return mod, mod.view.Load()
}

// show replaces a model's view. The caller holds mu.
func (r *Router) show(mod *model) {
	next := &view{why: "no plan is built on this node", changed: make(chan struct{})}
	if r.cfg.NoGPU != nil {
		next.why = r.cfg.NoGPU.Error()
	}
	for _, p := range mod.plans {
		next.options = append(next.options, p.option)
		if p.state != ready {
			next.why, next.making = p.String(), p.making
		}
	}
	if last := mod.view.Swap(next); last != nil {
		close(last.changed)
	}
	r.board.touch()
}
