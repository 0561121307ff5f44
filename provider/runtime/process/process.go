package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/internal/lockdir"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
	"github.com/faas-gpu/faas-gpu/provider/runtime/namespaces"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// Config of a runtime.
type Config struct {
	// Dir holds all state. Only one runtime at a time uses it.
	Dir string
	// Images has the images that deployments name.
	Images *image.Store
	// Bind is the address that replicas listen on, 127.0.0.1 if empty.
	Bind string
	// Node is the name of this machine in Replica.Node, its host name if empty.
	Node string
	// Environment is what all replicas get, such as cachemgr_socket. PATH in it is
	// also where programs are found that an image names but does not hold.
	Environment map[string]string
	// NodeLabels are what constraints call node.labels.
	NodeLabels map[string]string
	// Tokens makes the tokens of functions; nil: they get none.
	Tokens runtime.TokenSource
	// FirstPort to LastPort are for replicas, two for each; 0: any free ones.
	FirstPort, LastPort int
	Log                 *slog.Logger
}

// Runtime runs functions as processes.
type Runtime struct {
	runtime.Namespaces // both are namespaces
	runtime.Secrets

	config     Config
	machine    machine.Machine
	path       string // where programs of this machine are
	boot       string
	journal    journal
	lock       *os.File
	roots      *image.Roots
	ports      *ports
	groups     *cgroups
	namespaces *namespaces.Namespaces
	set        *reconcile.Set
}

var _ runtime.Runtime = (*Runtime)(nil)

// New takes up all that the folder tells: functions, and the replicas of them
// that still run. The others are started.
func New(config Config) (_ *Runtime, err error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	r := &Runtime{
		config: config,
		path:   cmp.Or(config.Environment["PATH"], defaultPath),
		ports:  &ports{host: config.Bind, first: config.FirstPort, last: config.LastPort, used: map[int]bool{}},
		groups: openCgroups("/sys/fs/cgroup", "faas-gpu"),
		set:    reconcile.NewSet(reconcile.Config{Node: config.Node, Tokens: config.Tokens, Log: config.Log}),
	}
	if r.lock, err = lockdir.Lock(config.Dir); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.boot, err = bootID(); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	if r.machine, err = thisMachine(config); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	if r.journal, err = openJournal(config.Dir); err != nil {
		return nil, err
	}
	if r.namespaces, err = namespaces.Open(config.Dir, r.set, config.Log); err != nil {
		return nil, err
	}
	r.Namespaces, r.Secrets = r.namespaces, r.namespaces
	if r.roots, err = image.NewRoots(config.Images, filepath.Join(config.Dir, "roots")); err != nil {
		return nil, err
	}
	if err := r.restore(); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	return r, nil
}

func (c *Config) complete() error {
	switch {
	case c.Dir == "" || c.Images == nil:
		return errors.New("process runtime: Config needs Dir and Images")
	case c.FirstPort < 0 || c.LastPort < c.FirstPort || c.LastPort > 65535:
		return fmt.Errorf("process runtime: ports %d to %d are no range", c.FirstPort, c.LastPort)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("process runtime: %w", err)
	}
	c.Dir = dir
	c.Bind = cmp.Or(c.Bind, "127.0.0.1")
	if c.Node == "" {
		if c.Node, err = os.Hostname(); err != nil {
			return fmt.Errorf("process runtime: %w", err)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// restore starts the goroutine of every function in the journal, and of those
// that were deleted while replicas of them still run.
func (r *Runtime) restore() error {
	records, err := r.journal.functions(r.config.Log)
	if err != nil {
		return err
	}
	replicas, err := r.journal.replicas(r.config.Log)
	if err != nil {
		return err
	}
	byUID := map[string][]*replicaRecord{}
	for _, replica := range replicas {
		byUID[replica.UID] = append(byUID[replica.UID], replica)
	}
	var all []*function
	for _, record := range records {
		if err := r.namespaces.Adopt(record.Deployment.ID.Namespace); err != nil {
			return err
		}
		release := func() {}
		if _, hold, err := r.roots.Hold(record.Image.Digest); err == nil {
			release = hold
		}
		f := r.newFunction(record.Deployment.ID, record.UID, record, release)
		all = append(all, f)
		f.adopt(byUID[record.UID])
		delete(byUID, record.UID)
	}
	for uid, left := range byUID {
		f := r.newFunction(left[0].Function, uid, nil, func() {})
		all = append(all, f)
		f.adopt(left)
	}
	if err := r.roots.Sweep(); err != nil {
		r.config.Log.Error("remove unpacked images that nobody uses", "err", err)
	}
	for _, f := range all {
		r.set.Add(f.actor)
	}
	return nil
}

// Snapshot and Changed: see runtime.Observer.
func (r *Runtime) Snapshot() *runtime.Snapshot { return r.set.Snapshot() }

func (r *Runtime) Changed(s *runtime.Snapshot) <-chan struct{} { return r.set.Changed(s) }

// Info names what this runtime does not do.
func (r *Runtime) Info() runtime.Info {
	return runtime.Info{
		Orchestration: "process",
		Version:       "1",
		Warnings: []string{
			"development only: no isolation between functions",
			"readOnlyRootFilesystem has no effect",
		},
		Unenforced: slices.Clone(r.groups.unenforced),
	}
}

// Stop ends all replicas, waits until they have stopped or ctx ends, and closes
// the runtime. Functions stay: a new runtime starts their replicas again.
func (r *Runtime) Stop(ctx context.Context) error {
	return errors.Join(r.set.Stop(ctx), r.unlock())
}

// Close stops watching; replicas go on.
func (r *Runtime) Close() error {
	r.set.Close()
	return r.unlock()
}

func (r *Runtime) unlock() error {
	if r.lock == nil {
		return nil
	}
	if err := r.lock.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// url is where a replica is reached.
func (r *Runtime) url(port int) string {
	host := r.config.Bind
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}
