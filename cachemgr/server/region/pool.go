package region

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Errors of a Pool, beside shm.ErrUnsuitable and the system's.
var (
	// ErrUnknown: no region of that name is the caller's.
	ErrUnknown = errors.New("unknown shared memory region")
	// ErrQuota: more would be shared than may be.
	ErrQuota = errors.New("too much shared memory")
	// ErrRange: a place that is not inside the region.
	ErrRange = errors.New("outside of the shared memory region")
)

// smallest is what a region counts as at least, in bytes. A mapping costs the
// kernel something however small it is, and a process may have 65,530.
const smallest = 64 << 10

// Config of a Pool.
type Config struct {
	// Total bounds the bytes of all regions, Each those of one function.
	Total, Each int64
	// Pinner, if not nil, pins regions for devices, as fast as pinning.go lets it.
	Pinner engine.Pinner
	Log    *slog.Logger
}

// Pool is the regions of one cache manager. Its methods may be called at the same
// time.
type Pool struct {
	Config
	pinning pinning

	mu         sync.Mutex
	regions    map[string]*Region
	used       int64 // also by regions that still come or go
	byFunction map[api.FunctionRef]int64
}

// NewPool returns an empty pool.
func NewPool(c Config) *Pool {
	return &Pool{
		Config: c, pinning: pinning{quota: c.Each, limiters: make(map[api.FunctionRef]*rate.Limiter)},
		regions: make(map[string]*Region), byFunction: make(map[api.FunctionRef]int64),
	}
}

// Add maps a memfd as a region of a function. The caller keeps the descriptor.
// Errors: ErrQuota, shm.ErrUnsuitable.
func (p *Pool) Add(f api.FunctionRef, fd int) (*Region, error) {
	size, err := shm.Size(fd)
	if err != nil {
		return nil, err
	}
	r := &Region{pool: p, function: f, name: rand.Text(), charge: max(size, smallest)}
	if err := p.charge(f, r.charge); err != nil {
		return nil, err
	}
	if r.data, err = shm.Map(fd); err != nil {
		p.discharge(f, r.charge)
		return nil, err
	}
	if p.Pinner != nil {
		p.pin(r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.uses = 1 // its registration
	p.regions[r.name] = r
	return r, nil
}

// pin pins a region, if that can be. It works all the same without, with one copy
// more.
func (p *Pool) pin(r *Region) {
	var err error
	if !p.pinning.may(r.function, r.charge, time.Now()) {
		p.Log.Debug("shared memory is not pinned: too much was, lately", "function", r.function.Name, "bytes", len(r.data))
	} else if r.unpin, err = p.Pinner.Pin(r.data); err != nil {
		p.Log.Warn("shared memory is not pinned", "function", r.function.Name, "bytes", len(r.data), "error", err)
	}
}

// charge counts n bytes, if the function may have them.
func (p *Pool) charge(f api.FunctionRef, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch own := p.byFunction[f]; {
	case n > p.Each-own:
		return fmt.Errorf("%w: this function has %d bytes and asks for %d more; it may have %d", ErrQuota, own, n, p.Each)
	case n > p.Total-p.used:
		return fmt.Errorf("%w: all functions have %d bytes and this one asks for %d more; they may have %d together", ErrQuota, p.used, n, p.Total)
	}
	p.used += n
	p.byFunction[f] += n
	return nil
}

func (p *Pool) discharge(f api.FunctionRef, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	if p.byFunction[f] -= n; p.byFunction[f] == 0 {
		delete(p.byFunction, f)
	}
}

// Remove ends a region's registration; ErrUnknown if it has ended before. Requests
// that use it go on.
func (p *Pool) Remove(r *Region) error {
	p.mu.Lock()
	known := p.regions[r.name] == r
	if known {
		delete(p.regions, r.name)
	}
	p.mu.Unlock()
	if !known {
		return fmt.Errorf("%w %q", ErrUnknown, r.name)
	}
	r.Release()
	return nil
}

// Use finds a function's region for a request, which then releases it. ErrUnknown.
func (p *Pool) Use(f api.FunctionRef, name string) (*Region, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.regions[name]
	if r == nil || r.function != f {
		return nil, fmt.Errorf("%w %.80q: it never was, or its connection has ended", ErrUnknown, name)
	}
	r.uses++
	return r, nil
}

// Info describes a region.
type Info struct {
	Name string
	Size int64 // bytes
}

// List is a function's regions, by name.
func (p *Pool) List(f api.FunctionRef) []Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []Info{}
	for name, r := range p.regions {
		if r.function == f {
			list = append(list, Info{name, int64(len(r.data))})
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Usage is how many regions there are, and what all together count as, in bytes.
func (p *Pool) Usage() (regions int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.regions), p.used
}
