package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Roots keeps one unpacked file tree for each image in use.
type Roots struct {
	store *Store
	dir   string

	mu   sync.Mutex
	uses map[string]*use
}

type use struct {
	count int        // guarded by Roots.mu
	busy  sync.Mutex // held while the tree is made or removed
}

// NewRoots keeps the trees of store's images in the folder dir, where nothing
// else may be.
func NewRoots(store *Store, dir string) (*Roots, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("unpacked images: %w", err)
	}
	return &Roots{store: store, dir: dir, uses: map[string]*use{}}, nil
}

// Hold returns the tree of an image, which is unpacked if it is not there yet,
// and stays until release was called for every Hold. ErrNotFound, ErrBad.
func (r *Roots) Hold(digest string) (root string, release func(), err error) {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || strings.ContainsAny(digest, "/\x00") {
		return "", nil, fmt.Errorf("%w: %q is not a digest", ErrBad, digest)
	}
	root = filepath.Join(r.dir, algorithm+"-"+hex)
	u := r.count(digest, 1)
	release = sync.OnceFunc(func() {
		r.count(digest, -1)
		r.removeUnused(u, root)
	})
	u.busy.Lock()
	if !exists(root) {
		err = r.store.Unpack(digest, root)
	}
	u.busy.Unlock()
	if err != nil {
		release()
		return "", nil, err
	}
	return root, release, nil
}

// Sweep removes the trees that nobody holds, which an earlier run left.
func (r *Roots) Sweep() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("unpacked images: %w", err)
	}
	for _, e := range entries {
		digest := strings.Replace(e.Name(), "-", ":", 1)
		err = errors.Join(err, r.removeUnused(r.count(digest, 0), filepath.Join(r.dir, e.Name())))
	}
	return err
}

func (r *Roots) count(digest string, change int) *use {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.uses[digest]
	if u == nil {
		u = &use{}
		r.uses[digest] = u
	}
	u.count += change
	return u
}

// removeUnused removes a tree that has no use. A Hold that comes meanwhile waits
// and unpacks the tree again.
func (r *Roots) removeUnused(u *use, root string) error {
	u.busy.Lock()
	defer u.busy.Unlock()
	r.mu.Lock()
	unused := u.count == 0
	r.mu.Unlock()
	if !unused || !exists(root) {
		return nil
	}
	// A tree under its name is whole: one that is half removed has another.
	doomed := filepath.Join(r.dir, tempPrefix+filepath.Base(root))
	if err := errors.Join(os.RemoveAll(doomed), os.Rename(root, doomed)); err != nil {
		return err
	}
	return os.RemoveAll(doomed)
}
