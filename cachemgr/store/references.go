package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// unusedLife is how long a file without users stays when references are set. An
// upload becomes a registration a moment later, and after a restart a function
// offers its models again.
const unusedLife = 10 * time.Minute

// reference is a set of references.
type reference struct {
	Generation uint64            `json:"generation"`
	At         time.Time         `json:"at"`
	Functions  []api.FunctionRef `json:"functions"`

	exists map[api.FunctionRef]bool
}

// index makes gone quick.
func (r *reference) index() {
	r.exists = make(map[api.FunctionRef]bool, len(r.Functions))
	for _, f := range r.Functions {
		r.exists[f] = true
	}
}

// gone reports whether a function whose latest token was minted then has ceased
// to exist. Without any set so far everything exists.
func (r *reference) gone(f api.FunctionRef, minted time.Time) bool {
	return !r.At.IsZero() && !r.exists[f] && !minted.After(r.At)
}

// Gone reports whether a function had ceased to exist when the references were read,
// though it has a token that was minted at a time.
func (s *Store) Gone(f api.FunctionRef, minted time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refs.gone(f, minted)
}

func (s *Store) readReferences() error {
	var r reference
	ok, err := s.readJSON(s.path("references.json"), &r, func() error { return nil })
	if ok {
		r.index()
		s.refs = r
	}
	return err
}

// Dropped is what SetReferences took away.
type Dropped struct {
	Functions []api.FunctionRef
	Digests   []string // of files that were deleted
}

// SetReferences takes over which functions exist, and drops what belongs to no
// other: the registrations of functions that are gone, and files that nobody has
// used for some minutes.
//
// A function is gone if it is not in the set and its token was minted before the
// set was read, both by the provider's clock. So the order in which a set and an
// offer arrive does not matter, nor how long either was under way: a function
// that came into being after the set was read is kept, and the next set has it.
//
// What is gone stays gone: it cannot register again with a token that is as old,
// which a replica that is just ending might try.
//
// A generation before the present one is ErrStale, a set without its time
// ErrInvalid. The same generation again is fine. Other errors: what could not be
// written or deleted; the rest is done.
func (s *Store) SetReferences(ctx context.Context, refs api.References) (Dropped, error) {
	var d Dropped
	if refs.At.IsZero() {
		return d, fmt.Errorf(`%w: the references do not say when they were read ("at")`, ErrInvalid)
	}
	if err := s.advance(ctx, refs); err != nil {
		return d, err
	}
	s.mu.RLock()
	now := s.refs
	s.mu.RUnlock()
	gone := func(r registration) bool { return now.gone(r.Function, r.Minted) }
	var errs []error
	for _, f := range s.matching(gone) {
		dropped, err := s.forget(ctx, f, gone)
		if dropped {
			d.Functions = append(d.Functions, f)
		}
		errs = append(errs, err)
	}
	d.Digests = s.collect()
	return d, errors.Join(errs...)
}

// advance writes down the generation of a set, if it is not before the present.
func (s *Store) advance(ctx context.Context, refs api.References) error {
	release, err := s.setting.take(ctx, "references")
	if err != nil {
		return err
	}
	defer release()
	s.mu.RLock()
	old := s.refs
	s.mu.RUnlock()
	if refs.Generation < old.Generation {
		return fmt.Errorf("%w: generation %d, this node has generation %d", ErrStale, refs.Generation, old.Generation)
	}
	next := reference{Generation: refs.Generation, At: refs.At, Functions: refs.Functions}
	next.index()
	if err := s.writeJSON(s.path("references.json"), next); err != nil {
		return fmt.Errorf("write references: %w", err)
	}
	s.mu.Lock()
	s.refs = next
	s.mu.Unlock()
	return nil
}

// matching lists the functions whose registration is as asked for.
func (s *Store) matching(is func(registration) bool) []api.FunctionRef {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []api.FunctionRef
	for f, r := range s.functions {
		if is(r) {
			found = append(found, f)
		}
	}
	return found
}

// collect deletes the files that nobody has used for unusedLife.
func (s *Store) collect() []string {
	before := s.now().Add(-unusedLife)
	var unused []string
	s.mu.Lock()
	for digest, b := range s.blobs {
		if b.state == present && b.users == 0 && !b.since.After(before) {
			unused = append(unused, digest)
		}
	}
	s.mark(unused)
	s.mu.Unlock()
	s.remove(unused)
	return slices.DeleteFunc(unused, s.Has)
}
