package store

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

type blobState int

const (
	present blobState = iota
	writing
	deleting
)

// blob is one model file.
type blob struct {
	size  int64
	state blobState
	done  chan struct{} // closed when writing or deleting is over
	users int           // registrations that name it
	// lastUsed orders what is deleted for room.
	lastUsed time.Time
	// since is when this process first had it without users: at Open, after its
	// upload, when the last user went.
	since time.Time
}

// hexOf is the file name of a digest that was checked.
func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

func (s *Store) blobPath(digest string) string { return s.path("blobs", hexOf(digest)) }

// readBlobs finds the files that are there.
func (s *Store) readBlobs() error {
	entries, err := os.ReadDir(s.path("blobs"))
	if err != nil {
		return err
	}
	now := s.now()
	for _, e := range entries {
		digest := "sha256:" + e.Name()
		info, err := e.Info()
		if err != nil || api.CheckDigest(digest) != nil || !info.Mode().IsRegular() {
			s.log.Warn("ignored a file that is no model", "file", s.path("blobs", e.Name()))
			continue
		}
		s.blobs[digest] = &blob{size: info.Size(), lastUsed: info.ModTime(), since: now}
		s.used += info.Size()
	}
	return nil
}

// Has reports whether the file of a digest is there, complete.
func (s *Store) Has(digest string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.blobs[digest]
	return ok && b.state == present
}

// Path is the file of a digest, and counts as a use of it. The file stays as long
// as a registration names it, and does not change. ErrNotFound.
func (s *Store) Path(digest string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[digest]
	if !ok || b.state != present {
		return "", fmt.Errorf("%.80s is %w", digest, ErrNotFound)
	}
	b.lastUsed = s.now()
	return s.blobPath(digest), nil
}

// OpenFile opens the file of a digest to be read; it counts as a use of it.
// ErrNotFound.
func (s *Store) OpenFile(digest string) (f *os.File, size int64, err error) {
	path, err := s.Path(digest)
	if err != nil {
		return nil, 0, err
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, fmt.Errorf("open model file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open model file: %w", err)
	}
	return f, info.Size(), nil
}

// victims marks files that nobody uses for deletion, the least recently used
// first, until need more bytes fit in the quota; none if that cannot be reached.
// The caller holds mu and deletes them after it.
func (s *Store) victims(need int64) []string {
	free := s.quota - s.used
	var unused []string
	for digest, b := range s.blobs {
		if b.state == present && b.users == 0 {
			unused = append(unused, digest)
		}
	}
	slices.SortFunc(unused, func(a, b string) int {
		return cmp.Or(s.blobs[a].lastUsed.Compare(s.blobs[b].lastUsed), cmp.Compare(a, b))
	})
	for i, digest := range unused {
		if free += s.blobs[digest].size; free >= need {
			s.mark(unused[:i+1])
			return unused[:i+1]
		}
	}
	return nil
}

// leaving is closed when some file that is being deleted is gone; nil if there is
// none. The caller holds mu.
func (s *Store) leaving() <-chan struct{} {
	for _, b := range s.blobs {
		if b.state == deleting {
			return b.done
		}
	}
	return nil
}

// mark puts files into the state deleting. The caller holds mu.
func (s *Store) mark(digests []string) {
	for _, digest := range digests {
		b := s.blobs[digest]
		b.state, b.done = deleting, make(chan struct{})
	}
}

// remove deletes marked files. One that cannot be deleted is as before, so that
// its bytes stay counted.
func (s *Store) remove(digests []string) {
	for _, digest := range digests {
		err := os.Remove(s.blobPath(digest))
		if os.IsNotExist(err) {
			err = nil
		}
		s.mu.Lock()
		b := s.blobs[digest]
		close(b.done)
		if err == nil {
			delete(s.blobs, digest)
			s.used -= b.size
		} else {
			b.state, b.done = present, nil
		}
		s.mu.Unlock()
		if err != nil {
			s.log.Warn("could not delete a model file", "digest", digest, "reason", err)
		} else {
			s.log.Info("deleted a model file that nobody uses", "digest", digest, "bytes", b.size)
		}
	}
}

// use counts one more registration, or less, that names each model's file. The
// caller holds mu, and has checked that the files are there.
func (s *Store) use(models []api.Offer, change int) {
	for i := range models {
		b := s.blobs[models[i].Digest]
		if b == nil {
			continue
		}
		if b.users += change; b.users == 0 {
			b.since = s.now()
		}
	}
}
