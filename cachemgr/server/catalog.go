package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// catalog knows which function calls which file by which name and version. The
// manager knows a file from before its first name until after its last.
type catalog struct {
	manager Registry
	log     *slog.Logger

	changes sync.Mutex // one change at a time; taken before mu

	mu        sync.RWMutex
	functions map[api.FunctionRef][]*entry // by name, then by version number; a slice is replaced, not changed
	files     map[string]*file             // by digest
	version   uint64                       // grows with every change
	changed   chan struct{}                // closed at the next change
}

// entry is one version of one model under the name that a function gave it.
type entry struct {
	function api.FunctionRef
	offer    api.Offer
	number   int // of the version
	file     *file
	stats    *stats
}

func newCatalog(m Registry, log *slog.Logger) *catalog {
	return &catalog{
		manager:   m,
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

// uses reports whether a function has a file under some name.
func (c *catalog) uses(ref api.FunctionRef, digest string) bool {
	return slices.ContainsFunc(c.entriesOf(ref), func(e *entry) bool { return e.offer.Digest == digest })
}

// knows reports whether any function has a file.
func (c *catalog) knows(digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.files[digest] != nil
}

// add gives a function a model under a name, in place of what had that name and
// version before. The file is at path.
func (c *catalog) add(ref api.FunctionRef, offer api.Offer, path string) (*entry, error) {
	number, err := strconv.Atoi(offer.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: version %q of model %q is not a number", errBadRequest, offer.Version, offer.Name)
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	m := cachemgr.Model{Digest: offer.Digest, Name: offer.Name, Path: path, Format: formatOf(offer), Size: offer.Size}
	if err := c.manager.Add(m); err != nil {
		return nil, fmt.Errorf("model %q: %w", offer.Name, err)
	}
	e := &entry{function: ref, offer: offer, number: number}
	c.commit(func() {
		e.stats = c.statsFor(ref, offer.Name, offer.Version)
		e.file = c.files[offer.Digest]
		if e.file == nil {
			e.file = &file{digest: offer.Digest, size: offer.Size, format: m.Format}
			c.files[offer.Digest] = e.file
		}
		c.replace(ref, append(c.without(ref, func(old *entry) bool {
			return old.offer.Name == offer.Name && old.offer.Version == offer.Version
		}), e))
	})
	c.settle()
	return e, nil
}

// retain drops those models of a function that keep does not approve.
func (c *catalog) retain(ref api.FunctionRef, keep func(api.Offer) bool) {
	c.changes.Lock()
	defer c.changes.Unlock()
	left := c.without(ref, func(e *entry) bool { return !keep(e.offer) })
	if len(left) == len(c.entriesOf(ref)) {
		return
	}
	c.commit(func() { c.replace(ref, left) })
	c.settle()
}

// drop forgets functions.
func (c *catalog) drop(refs []api.FunctionRef) {
	if len(refs) == 0 {
		return
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	c.commit(func() {
		for _, ref := range refs {
			c.replace(ref, nil)
		}
	})
	c.settle()
}

// commit makes one change and tells those who wait for it.
func (c *catalog) commit(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
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

// refs lists all functions.
func (c *catalog) refs() []api.FunctionRef {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Keys(c.functions))
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

// without copies a function's entries except some.
func (c *catalog) without(ref api.FunctionRef, omit func(*entry) bool) []*entry {
	return slices.DeleteFunc(slices.Clone(c.functions[ref]), omit)
}

// replace sets a function's entries. The caller holds mu.
func (c *catalog) replace(ref api.FunctionRef, entries []*entry) {
	if len(entries) == 0 {
		delete(c.functions, ref)
		return
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.offer.Name, b.offer.Name), cmp.Compare(a.number, b.number))
	})
	c.functions[ref] = entries
}

// statsFor finds the counters of a model by what its metrics are labelled with:
// deployments of one function share them, so that a counter does not fall when a
// new deployment takes over. The caller holds mu.
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
