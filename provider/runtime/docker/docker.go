package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/lockdir"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/namespaces"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// callTimeout bounds a call to the daemon that should not take long.
const callTimeout = time.Minute

// Runtime runs functions as containers.
type Runtime struct {
	runtime.Namespaces // both are namespaces
	runtime.Secrets

	config     Config
	daemon     daemon
	node       node
	lock       *os.File
	namespaces *namespaces.Namespaces
	records    records
	set        *reconcile.Set
	gpus       *gpus
	pulls      *pulls

	tasks sync.WaitGroup

	mu       sync.Mutex          // guards replicas; held for a look-up only
	replicas map[string]*replica // that have not ended, by the container's ID
}

var _ runtime.Runtime = (*Runtime)(nil)

// New connects to the daemon and takes up all that its labels tell: functions, and
// the replicas of them that still run. The others are started. ctx bounds New
// only.
func New(ctx context.Context, config Config) (*Runtime, error) {
	if err := config.complete(); err != nil {
		return nil, fmt.Errorf("docker runtime: %w", err)
	}
	d, err := dial(config.Host)
	if err != nil {
		return nil, err
	}
	r, err := open(ctx, config, d)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("docker runtime: %w", err), d.Close())
	}
	return r, nil
}

// open is New with a daemon.
func open(ctx context.Context, config Config, d daemon) (_ *Runtime, err error) {
	r := &Runtime{
		config: config, daemon: d, replicas: map[string]*replica{},
		records: records{d, config.Name, config.Log}, gpus: newGPUs(config.GPUs), pulls: newPulls(d),
	}
	if r.lock, err = lockdir.Lock(config.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.lock.Close())
		}
	}()
	if err := errors.Join(os.MkdirAll(r.replicaDir(""), 0o700), os.MkdirAll(filepath.Dir(config.CachemgrSocket), 0o755)); err != nil {
		return nil, err
	}
	if err := config.checkShown(); err != nil {
		return nil, err
	}
	if r.node, err = d.Node(ctx); err != nil {
		return nil, err
	}
	r.node.Labels = config.NodeLabels
	if err := d.EnsureNetwork(ctx, config.Name); err != nil {
		return nil, fmt.Errorf("make the network %s: %w", config.Name, err)
	}
	r.set = reconcile.NewSet(reconcile.Config{Node: r.node.Name, Tokens: config.Tokens, Log: config.Log})
	if r.namespaces, err = namespaces.Open(config.Dir, r.set, config.Log); err == nil {
		r.Namespaces, r.Secrets = r.namespaces, r.namespaces
		err = r.restore(ctx)
	}
	if err != nil {
		r.set.Close()
		return nil, err
	}
	r.tasks.Go(r.watch)
	r.tasks.Go(r.sampleUsage)
	return r, nil
}

// replicaDir is the folder of the files that a replica's container sees.
func (r *Runtime) replicaDir(name string) string {
	return filepath.Join(r.config.Dir, "replicas", name)
}

// Snapshot and Changed: see runtime.Observer.
func (r *Runtime) Snapshot() *runtime.Snapshot { return r.set.Snapshot() }

func (r *Runtime) Changed(s *runtime.Snapshot) <-chan struct{} { return r.set.Changed(s) }

// Info names what the daemon cannot do.
func (r *Runtime) Info() runtime.Info {
	info := runtime.Info{Orchestration: "docker", Version: r.node.Version}
	if !r.node.LimitsMemory {
		info.Unenforced = append(info.Unenforced, "memory: the daemon has no control group for it")
	}
	if !r.node.LimitsCPU {
		info.Unenforced = append(info.Unenforced, "cpu: the daemon has no control group for quotas")
	}
	return info
}

// Stop ends all replicas, waits until they have stopped or ctx ends, and closes
// the runtime. Functions stay: a new runtime starts their replicas again.
func (r *Runtime) Stop(ctx context.Context) error {
	return errors.Join(r.set.Stop(ctx), r.release())
}

// Close stops watching; replicas go on.
func (r *Runtime) Close() error {
	r.set.Close()
	return r.release()
}

// release gives back what the runtime held, once its set is closed.
func (r *Runtime) release() error {
	r.tasks.Wait()
	r.pulls.wait()
	err := r.lock.Close()
	if errors.Is(err, os.ErrClosed) { // this is not the first call
		err = nil
	}
	return errors.Join(r.daemon.Close(), err)
}

// remember has a replica found by its container until forget.
func (r *Runtime) remember(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicas[rep.id] = rep
}

func (r *Runtime) forget(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.replicas, rep.id)
}

func (r *Runtime) replica(id string) *replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replicas[id]
}

func (r *Runtime) allReplicas() []*replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*replica, 0, len(r.replicas))
	for _, rep := range r.replicas {
		all = append(all, rep)
	}
	return slices.Clip(all)
}

// call returns the context of a call to the daemon that ends with the runtime.
func (r *Runtime) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.set.Context(), callTimeout)
}
