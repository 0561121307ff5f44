package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
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
	// Tokens makes the tokens of functions; nil: they get none.
	Tokens runtime.TokenSource
	// FirstPort to LastPort are for replicas, two for each; 0: any free ones.
	FirstPort, LastPort int
	Log                 *slog.Logger
}

// Runtime runs functions as processes.
type Runtime struct {
	config  Config
	path    string // where programs of this machine are
	boot    string
	journal journal
	lock    *os.File
	roots   *image.Roots
	board   *board
	ports   *ports
	groups  *cgroups
	client  *http.Client

	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // goroutines that wait for a replica
	actors  sync.WaitGroup // function.run
	stopped atomic.Bool    // Stop was called

	turn      chan struct{} // whoever put something in may change functions
	mu        sync.Mutex    // guards functions; held for a look-up only
	functions map[runtime.ID]*function
}

var _ runtime.Runtime = (*Runtime)(nil)

// New takes up all that the folder tells: functions, and the replicas of them
// that still run. The others are started.
func New(config Config) (_ *Runtime, err error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	r := &Runtime{
		config:    config,
		path:      cmp.Or(config.Environment["PATH"], defaultPath),
		board:     newBoard(),
		ports:     &ports{host: config.Bind, first: config.FirstPort, last: config.LastPort, used: map[int]bool{}},
		groups:    openCgroups("/sys/fs/cgroup", "faas-gpu"),
		client:    newProbeClient(),
		turn:      make(chan struct{}, 1),
		functions: map[runtime.ID]*function{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if r.lock, err = lockDir(config.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.boot, err = bootID(); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	if r.journal, err = openJournal(config.Dir); err != nil {
		return nil, err
	}
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

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("process runtime: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("process runtime: another one uses %s: %w", dir, err)
	}
	return f, nil
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
		release := func() {}
		if _, hold, err := r.roots.Hold(record.Image.Digest); err == nil {
			release = hold
		}
		f := newFunction(r, record.Deployment.ID, record.UID, &want{record: record, release: release})
		r.functions[f.id] = f
		r.board.add(f.public())
		all = append(all, f)
		f.adopt(byUID[f.uid])
		delete(byUID, f.uid)
	}
	for uid, left := range byUID {
		f := newFunction(r, left[0].Function, uid, &want{deleted: true, release: func() {}})
		all = append(all, f)
		f.adopt(left)
	}
	if err := r.roots.Sweep(); err != nil {
		r.config.Log.Error("remove unpacked images that nobody uses", "err", err)
	}
	for _, f := range all {
		r.actors.Go(func() { f.run(r.ctx) })
	}
	return nil
}

// Snapshot and Changed: see runtime.Observer.
func (r *Runtime) Snapshot() *runtime.Snapshot { return r.board.snapshot.Load() }

func (r *Runtime) Changed(s *runtime.Snapshot) <-chan struct{} { return r.board.after(s) }

// Info names what this runtime does not do.
func (r *Runtime) Info() runtime.Info {
	return runtime.Info{
		Orchestration: "process",
		Version:       "1",
		Warnings: []string{
			"development only: no isolation between functions",
			"placement constraints and readOnlyRootFilesystem have no effect",
		},
		Unenforced: slices.Clone(r.groups.unenforced),
	}
}

// Stop ends all replicas, waits until they have stopped or ctx ends, and closes
// the runtime. Functions stay: a new runtime starts their replicas again.
func (r *Runtime) Stop(ctx context.Context) error {
	r.stopped.Store(true)
	r.mu.Lock()
	for _, f := range r.functions {
		f.nudge()
	}
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		r.actors.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("replicas are still stopping: %w", ctx.Err())
	}
	return errors.Join(err, r.Close())
}

// Close stops watching; replicas go on.
func (r *Runtime) Close() error {
	r.cancel()
	// A change that is under way may still start a goroutine; none comes after it.
	r.turn <- struct{}{}
	<-r.turn
	r.actors.Wait()
	r.tasks.Wait()
	r.client.CloseIdleConnections()
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
