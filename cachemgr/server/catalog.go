package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// catalog knows which function calls which file by which name and version: what
// the store has of it, ready for requests. The manager knows a file from before
// its first name until after its last.
type catalog struct {
	names   names
	manager Registry
	accept  func(api.Offer) error // says what is wrong with a model on this node
	log     *slog.Logger

	changes sync.Mutex // one change at a time; taken before mu

	mu        sync.RWMutex
	functions map[api.FunctionRef][]*entry // by name, then by version number; a slice is replaced, not changed
	files     map[string]*file             // by digest
	version   uint64                       // grows with every change
	changed   chan struct{}                // closed at the next change
}

// names is the store, as far as the catalog follows it; both calls are quick.
type names interface {
	Models(api.FunctionRef) []api.Offer
	Path(digest string) (string, error)
}

// entry is one version of one model under the name that a function gave it.
type entry struct {
	function api.FunctionRef
	offer    api.Offer
	number   int64  // of the version
	caller   string // the function, as cachemgr.Request has it
	slo      time.Duration
	terms    cachemgr.Terms
	file     *file
	stats    *stats
}

func newCatalog(n names, m Registry, accept func(api.Offer) error, log *slog.Logger) *catalog {
	return &catalog{
		names:     n,
		manager:   m,
		accept:    accept,
		log:       log,
		functions: make(map[api.FunctionRef][]*entry),
		files:     make(map[string]*file),
		changed:   make(chan struct{}),
	}
}

// resolve finds a model among those of one function: the version named, or the
// highest one. Models of others do not exist for it.
func (c *catalog) resolve(ref api.FunctionRef, name, version string) (*entry, error) {
	entries := c.entriesOf(ref)
	for i := len(entries) - 1; i >= 0; i-- {
		if e := entries[i]; e.offer.Name == name && (version == "" || e.offer.Version == version) {
			return e, nil
		}
	}
	if version != "" {
		return nil, fmt.Errorf("%w %q, version %q", cachemgr.ErrUnknownModel, name, version)
	}
	return nil, fmt.Errorf("%w %q", cachemgr.ErrUnknownModel, name)
}

// entriesOf lists a function's models by name and version number. The caller
// must not change the slice.
func (c *catalog) entriesOf(ref api.FunctionRef) []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.functions[ref]
}

// knows reports whether any function has a file.
func (c *catalog) knows(digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.files[digest] != nil
}

// refusal is a model that the store has and that cannot be used.
type refusal struct {
	offer api.Offer
	err   error
}

// follow makes a function's models those that the store has for it now. It
// returns those that could not be taken over.
func (c *catalog) follow(ref api.FunctionRef) []refusal {
	c.changes.Lock()
	defer c.changes.Unlock()
	var entries []*entry
	var refused []refusal
	for _, o := range c.names.Models(ref) {
		e, err := c.entry(ref, o)
		if err != nil {
			refused = append(refused, refusal{o, err})
			continue
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.offer.Name, b.offer.Name), cmp.Compare(a.number, b.number))
	})
	c.commit(ref, entries)
	c.settle()
	return refused
}

// entry makes an entry of an offer, and tells the manager of its file. The caller
// holds changes.
func (c *catalog) entry(ref api.FunctionRef, o api.Offer) (*entry, error) {
	if err := c.accept(o); err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(o.Version, 10, 64)
	if err != nil {
		return nil, err
	}
	slo, err := o.Config.Objective()
	if err != nil {
		return nil, err
	}
	path, err := c.names.Path(o.Digest)
	if err != nil {
		return nil, err
	}
	f := c.files[o.Digest]
	if f != nil && string(f.format) != o.Format {
		return nil, fmt.Errorf("%w: the same file is in use as %q", errBadRequest, f.format)
	}
	// Functions that share a file do not read each other's names in messages.
	terms := cachemgr.Terms{Precisions: o.Config.Precisions, MaxBatch: o.Config.MaxBatch, Fallback: o.Config.Fallback}
	m := cachemgr.Model{Digest: o.Digest, Name: shortDigest(o.Digest), Path: path, Format: engine.Format(o.Format), Size: o.Size, Terms: terms}
	if err := c.manager.Add(m); err != nil {
		return nil, err
	}
	if f == nil {
		f = &file{digest: o.Digest, format: m.Format}
		c.mu.Lock()
		c.files[o.Digest] = f
		c.mu.Unlock()
	}
	return &entry{function: ref, offer: o, number: number, caller: ref.Name + "." + ref.Namespace, slo: slo, terms: terms, file: f,
		stats: c.statsFor(ref, o.Name, o.Version)}, nil
}

// shortDigest is a digest for people: its algorithm and first 12 digits.
func shortDigest(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

// commit replaces a function's entries and tells those who wait for a change.
func (c *catalog) commit(ref api.FunctionRef, entries []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(entries) == 0 {
		delete(c.functions, ref)
	} else {
		c.functions[ref] = entries
	}
	c.version++
	close(c.changed)
	c.changed = make(chan struct{})
}

// settle brings the manager into line with a change: files without a name are
// forgotten, those that somebody wants pinned are. What the manager refuses is
// logged and stays as it is: names do not depend on it. The caller holds changes.
func (c *catalog) settle() {
	named := make(map[string]bool)
	pinned := make(map[string]bool)
	for _, e := range c.all() {
		named[e.offer.Digest] = true
		pinned[e.offer.Digest] = pinned[e.offer.Digest] || e.offer.Pin
	}
	for digest, f := range c.files {
		switch {
		case !named[digest]:
			c.mu.Lock()
			delete(c.files, digest)
			c.mu.Unlock()
			if err := c.manager.Forget(digest); err != nil {
				c.log.Warn("model not forgotten", "digest", digest, "error", err)
			}
		case f.pinned != pinned[digest]:
			f.pinned = pinned[digest]
			if err := c.manager.Pin(digest, f.pinned); err != nil {
				c.log.Warn("model not pinned", "digest", digest, "pin", f.pinned, "error", err)
			}
		}
	}
}

// position is the catalog's version and a channel that is closed at the next.
func (c *catalog) position() (version uint64, changed <-chan struct{}) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.version, c.changed
}

// all lists every entry of every function, in no order.
func (c *catalog) all() []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []*entry
	for _, entries := range c.functions {
		out = append(out, entries...)
	}
	return out
}

// statsFor finds the counters of a model by what its metrics are labelled with:
// deployments of one function share them, so that a counter does not fall when a
// new deployment takes over. The caller holds changes.
func (c *catalog) statsFor(ref api.FunctionRef, model, version string) *stats {
	for other, entries := range c.functions {
		if other.Namespace != ref.Namespace || other.Name != ref.Name {
			continue
		}
		for _, e := range entries {
			if e.offer.Name == model && e.offer.Version == version {
				return e.stats
			}
		}
	}
	return new(stats)
}
