package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// registration is what one function may call, as it is on disk. Its models are in
// order: by name, then the highest version first. A registration never changes,
// it is replaced.
type registration struct {
	Function api.FunctionRef `json:"function"`
	// Minted is the latest time at which the provider made a token for the
	// function, by its clock: the function existed then.
	Minted time.Time   `json:"minted"`
	Models []api.Offer `json:"models"`
}

// functionPath is the file of a function's registration. Names come from outside
// and may be long, so the file is called by their digest.
func (s *Store) functionPath(f api.FunctionRef) string {
	sum := sha256.Sum256([]byte(f.Namespace + "\x00" + f.Name + "\x00" + f.UID))
	return s.path("functions", hex.EncodeToString(sum[:16])+".json")
}

// readFunctions reads all registrations.
func (s *Store) readFunctions() error {
	paths, err := filepath.Glob(s.path("functions", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		var r registration
		ok, err := s.readJSON(path, &r, func() error {
			if s.functionPath(r.Function) != path {
				return errors.New("the file's name does not belong to the function in it")
			}
			return checkSet(r.Models)
		})
		if err != nil {
			return err
		}
		if ok {
			s.adopt(r)
		}
	}
	return nil
}

// adopt takes over a registration from disk, without the models whose files are
// gone. A file had the registered size when it was registered; one that has
// another now is damaged.
func (s *Store) adopt(r registration) {
	r.Models = slices.DeleteFunc(r.Models, func(o api.Offer) bool {
		b, ok := s.blobs[o.Digest]
		if ok && b.size == o.Size {
			return false
		}
		s.log.Warn("a registered model has lost its file", "function", r.Function.Name, "model", o.Name, "digest", o.Digest)
		if ok {
			s.mark([]string{o.Digest})
			s.remove([]string{o.Digest})
		}
		return true
	})
	sortModels(r.Models)
	s.functions[r.Function] = r
	s.use(r.Models, 1)
}

// Models are the models of a function, by name, the highest version first. The
// caller does not change them.
func (s *Store) Models(f api.FunctionRef) []api.Offer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.functions[f].Models
}

// Lookup finds a model of a function; version "" is the highest.
func (s *Store) Lookup(f api.FunctionRef, name, version string) (api.Offer, bool) {
	models := s.Models(f)
	for i := range models {
		if models[i].Name == name && (version == "" || models[i].Version == version) {
			return models[i], true
		}
	}
	return api.Offer{}, false
}

// Registration is what one function may call.
type Registration struct {
	Function api.FunctionRef
	Models   []api.Offer // as Models has them
}

// Registrations are those of all functions, in no order.
func (s *Store) Registrations() []Registration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Registration, 0, len(s.functions))
	for f, r := range s.functions {
		all = append(all, Registration{f, r.Models})
	}
	return all
}

// Offer makes offers the full set of a function's models: those registered before
// with the same digest stay, with what the offer now says of them, all others are
// dropped. It reports for each offer whether it is registered; the others need
// Register. minted is when the function's token was made. Errors: ErrInvalid,
// ErrFull.
func (s *Store) Offer(ctx context.Context, f api.FunctionRef, minted time.Time, offers []api.Offer) ([]bool, error) {
	if err := checkSet(offers); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	known := make([]bool, len(offers))
	err := s.change(ctx, f, minted, func(old []api.Offer) ([]api.Offer, error) {
		var kept []api.Offer
		for i, o := range offers {
			known[i] = slices.ContainsFunc(old, func(m api.Offer) bool {
				return m.Name == o.Name && m.Version == o.Version && m.Digest == o.Digest && m.Size == o.Size
			})
			if known[i] {
				kept = append(kept, o)
			}
		}
		return kept, nil
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

// Register adds a model whose bytes the function has shown to possess, in place of
// one with the same name and version. Errors: ErrInvalid; ErrNotFound: its file is
// not there (any more); ErrMismatch: the file has another size; ErrFull.
func (s *Store) Register(ctx context.Context, f api.FunctionRef, minted time.Time, o api.Offer) error {
	if err := o.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s.change(ctx, f, minted, func(old []api.Offer) ([]api.Offer, error) {
		b, ok := s.blobs[o.Digest]
		if !ok || b.state != present {
			return nil, fmt.Errorf("%s is %w", o.Digest, ErrNotFound)
		}
		if b.size != o.Size {
			return nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrMismatch, o.Digest, b.size, o.Size)
		}
		b.lastUsed = s.now()
		rest := slices.DeleteFunc(slices.Clone(old), func(m api.Offer) bool { return m.Name == o.Name && m.Version == o.Version })
		return append(rest, o), nil
	})
}

// change replaces the models of a function by what decide, called with mu held,
// makes of them, on disk before in memory. A set of references that comes
// meanwhile finds the function if it was there before; else it is dropped here.
func (s *Store) change(ctx context.Context, f api.FunctionRef, minted time.Time, decide func([]api.Offer) ([]api.Offer, error)) error {
	release, err := s.changing.take(ctx, f)
	if err != nil {
		return err
	}
	defer release()

	s.mu.Lock()
	old, existed := s.functions[f]
	models, err := decide(old.Models)
	if minted = later(old.Minted, minted); err == nil && s.refs.gone(f, minted) {
		err = goneError(f)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	sortModels(models)
	next := registration{Function: f, Minted: minted, Models: models}
	s.use(next.Models, 1) // from here on nobody deletes their files
	s.mu.Unlock()

	if !existed || !next.Minted.Equal(old.Minted) || !slices.EqualFunc(next.Models, old.Models, api.Offer.Equal) {
		if err = s.writeJSON(s.functionPath(f), next); err != nil {
			err = fmt.Errorf("write registration: %w", err)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && !existed && s.refs.gone(f, minted) {
		err = errors.Join(goneError(f), os.Remove(s.functionPath(f)))
	}
	if err != nil {
		s.use(next.Models, -1)
		return err
	}
	s.use(old.Models, -1)
	s.functions[f] = next
	return nil
}

func goneError(f api.FunctionRef) error {
	return fmt.Errorf("%s.%s: %w", f.Name, f.Namespace, ErrGone)
}

// forget drops a function, unless it turns out to exist after all.
func (s *Store) forget(ctx context.Context, f api.FunctionRef, gone func(registration) bool) (bool, error) {
	release, err := s.changing.take(ctx, f)
	if err != nil {
		return false, err
	}
	defer release()
	s.mu.RLock()
	r, ok := s.functions[f]
	s.mu.RUnlock()
	if !ok || !gone(r) {
		return false, nil
	}
	if err := os.Remove(s.functionPath(f)); err != nil && !os.IsNotExist(err) {
		return false, fmt.Errorf("delete registration: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.functions, f)
	s.use(r.Models, -1)
	return true, nil
}

// checkSet holds every offer, and their names against one another.
func checkSet(offers []api.Offer) error {
	seen := make(map[string]bool, len(offers))
	for _, o := range offers {
		if err := o.Check(); err != nil {
			return err
		}
		key := o.Name + "/" + o.Version
		if seen[key] {
			return fmt.Errorf("model %q has version %s twice", o.Name, o.Version)
		}
		seen[key] = true
	}
	return nil
}

// sortModels sorts by name, the highest version first.
func sortModels(models []api.Offer) {
	number := func(o api.Offer) int64 {
		n, _ := strconv.ParseInt(o.Version, 10, 64) // its syntax was checked
		return n
	}
	slices.SortFunc(models, func(a, b api.Offer) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(number(b), number(a)))
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
