package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/internal/durable"
)

var (
	// ErrQuota: the file does not fit, even without all files that nobody uses.
	ErrQuota = errors.New("quota of the model store exceeded")
	// ErrFull: the file system is full.
	ErrFull = errors.New("file system of the model store is full")
	// ErrMismatch: the bytes are not those that were announced.
	ErrMismatch = errors.New("upload does not match")
	// ErrNotFound: there is no such file.
	ErrNotFound = errors.New("not in the model store")
	// ErrInvalid: a digest, name or set that breaks the rules.
	ErrInvalid = errors.New("invalid")
	// ErrStale: a set of references older than the one that holds.
	ErrStale = errors.New("stale references")
	// ErrGone: the function was not among the last references, and its token is
	// older than those.
	ErrGone = errors.New("function does not exist any more")
	// ErrLocked: another process has the folder open.
	ErrLocked = errors.New("model store is in use by another process")
)

// Config of a store.
type Config struct {
	Dir   string           // created if it is missing
	Quota int64            // bytes of model files
	Log   *slog.Logger     // what was set aside or could not be deleted
	Now   func() time.Time // nil is time.Now
}

// Store keeps model files and registrations. Its methods may be called at the
// same time.
type Store struct {
	dir   string
	quota int64
	log   *slog.Logger
	now   func() time.Time
	lock  *os.File

	changing claims[api.FunctionRef] // one change of a registration at a time
	setting  claims[string]          // one set of references at a time

	mu        sync.RWMutex // guards what follows, never held during I/O
	blobs     map[string]*blob
	used      int64 // bytes of all blobs, in every state
	functions map[api.FunctionRef]registration
	refs      reference
}

// Open opens the store in a folder, cleans up what an earlier process left
// behind, and reads the registrations. A file that cannot be understood is set
// aside with a line in the log. ErrLocked.
func Open(c Config) (*Store, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Store{
		dir: c.Dir, quota: c.Quota, log: c.Log, now: c.Now,
		blobs:     make(map[string]*blob),
		functions: make(map[api.FunctionRef]registration),
	}
	if err := s.open(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open model store: %w", err)
	}
	return s, nil
}

func (s *Store) open() error {
	for _, sub := range []string{"blobs", "functions"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return err
	}
	if err := os.Mkdir(s.path("tmp"), 0o700); err != nil {
		return err
	}
	if err := s.readBlobs(); err != nil {
		return err
	}
	if err := s.readReferences(); err != nil {
		return err
	}
	return s.readFunctions()
}

func (s *Store) takeLock() error {
	f, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("%w: %s", ErrLocked, s.dir)
	}
	s.lock = f
	return nil
}

// Close lets another process open the folder. No other method may be running.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// Usage is how full a store is.
type Usage struct {
	Quota int64
	Used  int64 // bytes, with those that are being written or deleted
	Files int
}

// Usage tells how full the store is.
func (s *Store) Usage() Usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Usage{Quota: s.quota, Used: s.used, Files: len(s.blobs)}
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// readJSON reads a file of the store to v; false if it does not exist. One that
// is not what it should be is set aside.
func (s *Store) readJSON(path string, v any, check func() error) (bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = decodeStrictly(text, v)
	}
	if err == nil {
		err = check()
	}
	if err != nil {
		s.log.Warn("set aside a corrupt file of the model store", "file", path, "reason", err)
		return false, os.Rename(path, path+".corrupt")
	}
	return true, nil
}

func decodeStrictly(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more follows the JSON")
	}
	return nil
}

// writeJSON replaces a file of the store by v.
func (s *Store) writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.path("tmp"), filepath.Base(path)+".*")
	if err != nil {
		return explain(err)
	}
	_, err = f.Write(text)
	return commit(f, path, err)
}

// commit gives the temporary file f its name, or removes it if err is not nil or
// anything fails.
func commit(f *os.File, path string, err error) error {
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return explain(err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(dir string) error { return explain(durable.Sync(dir)) }

// explain marks errors of a full file system.
func explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
