package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// Manager decides which models are where. Make one with New; its methods may be
// called at the same time.
type Manager struct {
	cfg  Config
	log  *slog.Logger
	base context.Context // of engine calls that no single request owns
	stop context.CancelFunc

	mu      sync.Mutex        // see the package comment
	models  map[string]*model // by digest
	entries map[string]*model // by key: also those forgotten that still hold bytes
	pinned  []*model
	leaving []*model // those that are retiring
	devices []*device
	host    hostPool

	began time.Time   // the queues count from here
	book  *queue.Book // of how the functions fare

	forecast forecast // of models to be prefetched
	wake     *time.Timer

	serial  uint64 // entries made
	tickets uint64 // tickets made
	calls   int    // Infer, Load and Spec that wait or run
	waiting int    // those of them that wait
	ops     int    // Open, Load and Close of the engine that are going on
	closed  bool

	said  []remark
	board board

	readsOnce bool        // the engine, of memory that is shared: see compute
	copies    buffer.Pool // of shared memory
}

// remark is a line for the log.
type remark struct {
	level   slog.Level
	message string
	args    []any
}

// say logs as soon as the lock is free: a log may block.
func (m *Manager) say(level slog.Level, message string, args ...any) {
	m.said = append(m.said, remark{level, message, args})
}

// unlock frees the lock and logs what was said under it.
func (m *Manager) unlock() {
	said := m.said
	m.said = nil
	m.mu.Unlock()
	for _, r := range said {
		m.log.Log(context.Background(), r.level, r.message, r.args...)
	}
}

// New asks the engine for its devices, holds it to their budgets, and returns a
// manager of them. Nothing is opened yet.
func New(cfg Config) (*Manager, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.LoadTimeout)
	defer cancel()
	found, err := cfg.devices(ctx)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg, log: cfg.Log,
		models: map[string]*model{}, entries: map[string]*model{},
		host:  hostPool{budget: cfg.HostBudget, order: cfg.Policy()},
		began: time.Now(), book: queue.NewBook(target),
	}
	order := cfg.Queue(m.book)
	for i, d := range found {
		m.devices = append(m.devices, &device{
			Device: d.Device, index: i, order: cfg.Policy(),
			loads: queue.New(order, cfg.Passes), turns: queue.New(order, cfg.Passes),
			ledger: ledger{budget: d.budget, overhead: d.Overhead},
		})
	}
	_, m.readsOnce = cfg.Engine.(engine.Pinner)
	m.base, m.stop = context.WithCancel(context.Background())
	m.board.generation = 1
	return m, nil
}

// Add makes a model known; its file is opened when it is first needed. A model
// that is known already gets the new name and path, for its next opening; that it
// could not be opened from another path is forgotten.
func (m *Manager) Add(add Model) error {
	if add.Digest == "" || add.Path == "" || add.Size < 0 {
		return fmt.Errorf("model %q: digest, path and size are required, got %q, %q, %d", add.Name, add.Digest, add.Path, add.Size)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if mod, ok := m.models[add.Digest]; ok {
		if mod.Path != add.Path {
			mod.failure = failure{}
		}
		mod.Model = add
		m.mark(mod)
		return nil
	}
	m.serial++
	mod := &model{Model: add, key: strconv.FormatUint(m.serial, 36)}
	for _, d := range m.devices {
		mod.slots = append(mod.slots, newSlot(mod, d))
	}
	m.models[add.Digest], m.entries[mod.key] = mod, mod
	m.mark(mod)
	return nil
}

// Forget removes a model: requests that come later get ErrUnknownModel, those
// that wait get it now, those that run or are about to finish. Its bytes are
// given back in the background. A model that is not known is no error.
func (m *Manager) Forget(digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod, ok := m.models[digest]
	if !ok {
		return nil
	}
	delete(m.models, digest)
	mod.gone = true
	m.unpin(mod)
	m.unmark(mod)
	m.failWaiting(mod, fmt.Errorf("%s was removed: %w", mod.Name, ErrUnknownModel))
	m.retire(mod)
	m.dropIfGone(mod)
	m.pump()
	return nil
}

// dropIfGone forgets the entry of a forgotten model that holds nothing any more.
func (m *Manager) dropIfGone(mod *model) {
	if mod.gone && mod.phase == onDisk {
		delete(m.entries, mod.key)
	}
}

// Unload evicts a model from all devices and from host memory, and returns when
// that is done or ctx ends. The model stays known; requests wait until it has
// left and then bring it back.
func (m *Manager) Unload(ctx context.Context, digest string) error {
	m.mu.Lock()
	mod, err := m.find(digest)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	before := mod.unstagings
	out := mod.phase == onDisk
	m.retire(mod)
	m.pump()
	m.mu.Unlock()
	if out {
		return nil
	}
	return m.await(ctx, func() bool { return mod.unstagings != before })
}

// Pin protects a model from being a victim, or ends that. Pinned models may take
// half of the budgets; more is engine.ErrNoMemory. Pin loads nothing.
func (m *Manager) Pin(digest string, on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod, err := m.find(digest)
	if err != nil {
		return err
	}
	switch {
	case on == mod.pinned:
		return nil
	case on:
		mod.pinned = true
		m.pinned = append(m.pinned, mod)
		mod.countIdle()
		if err := m.checkPins(); err != nil {
			m.unpin(mod)
			return fmt.Errorf("pin %s: %w", mod.Name, err)
		}
	default:
		m.unpin(mod)
		m.pump()
	}
	m.mark(mod)
	return nil
}

// find is the model of a digest, for a new call.
func (m *Manager) find(digest string) (*model, error) {
	if m.closed {
		return nil, ErrClosed
	}
	mod, ok := m.models[digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", digest, ErrUnknownModel)
	}
	return mod, nil
}

// await returns when cond holds, or with ctx's error. cond is called with the
// lock held, after every change.
func (m *Manager) await(ctx context.Context, cond func() bool) error {
	for {
		m.mu.Lock()
		if cond() {
			m.mu.Unlock()
			return nil
		}
		changed := m.board.next()
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// engineCall runs one call of the engine that brings a model, and its commit, in
// the background; see background.
func (m *Manager) engineCall(call func(ctx context.Context) (commit func())) {
	m.background(func() func() {
		ctx, cancel := context.WithTimeout(m.base, m.cfg.LoadTimeout)
		defer cancel()
		return call(ctx)
	})
}

// background runs one call of the engine and its commit. The lock is held by the
// caller, and again by commit; not by call.
func (m *Manager) background(call func() (commit func())) {
	m.ops++
	go func() {
		commit := call()
		m.mu.Lock()
		defer m.unlock()
		m.ops--
		commit()
		m.pump()
		m.board.touch()
	}()
}

// pump starts what can start now that something has changed. Devices come first:
// what fails there may be what host memory waits for.
func (m *Manager) pump() {
	for _, d := range m.devices {
		m.pumpDevice(d)
	}
	m.pumpHost()
}

// isClosing reports whether err is the end of the manager, not of the model.
func (m *Manager) isClosing(err error) bool {
	return m.base.Err() != nil && errors.Is(err, context.Canceled)
}

func (m *Manager) note(f *failure, err error) {
	f.note(err, time.Now(), m.cfg.RetryMin, m.cfg.RetryMax)
}
