package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// copyBuffer is how much of an upload is read at a time.
const copyBuffer = 256 << 10

// Put stores the file of a digest, which is the next size bytes of r and its end.
// A file that is there already, or that another call is just writing, is not read
// again: then r is left as it is. Errors: ErrInvalid, ErrQuota, ErrFull,
// ErrMismatch, the cause of ctx, those of r. Nothing is left behind then.
func (s *Store) Put(ctx context.Context, digest string, size int64, r io.Reader) error {
	if err := api.CheckDigest(digest); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if size <= 0 {
		return fmt.Errorf("%w: a model file of %d bytes", ErrInvalid, size)
	}
	for {
		mine, wait, err := s.claim(digest, size)
		switch {
		case err != nil:
			return err
		case mine:
			err := s.write(ctx, digest, size, r)
			s.written(digest, err == nil)
			return err
		case wait == nil:
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// claim makes the digest the caller's to write, after room for it was made. If
// wait is not nil, it is closed when trying again makes sense: another call has
// written the file, or a file is deleted. If neither, the file is there.
func (s *Store) claim(digest string, size int64) (mine bool, wait <-chan struct{}, err error) {
	for {
		s.mu.Lock()
		if b, ok := s.blobs[digest]; ok {
			defer s.mu.Unlock()
			if b.state == present && b.size != size {
				return false, nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrMismatch, digest, b.size, size)
			}
			return false, b.done, nil
		}
		if s.used+size <= s.quota {
			s.blobs[digest] = &blob{size: size, state: writing, done: make(chan struct{})}
			s.used += size
			s.mu.Unlock()
			return true, nil, nil
		}
		victims, used, leaving := s.victims(size), s.used, s.leaving()
		s.mu.Unlock()
		if victims == nil && leaving != nil {
			return false, leaving, nil
		}
		if victims == nil {
			return false, nil, fmt.Errorf("%w: %d bytes are wanted, %d of %d are in use", ErrQuota, size, used, s.quota)
		}
		s.remove(victims)
	}
}

// written ends the state writing.
func (s *Store) written(digest string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[digest]
	close(b.done)
	if !ok {
		delete(s.blobs, digest)
		s.used -= b.size
		return
	}
	b.state, b.done = present, nil
	b.since = s.now()
	b.lastUsed = b.since
}

// write brings the bytes to disk and checks them on the way.
func (s *Store) write(ctx context.Context, digest string, size int64, r io.Reader) error {
	f, err := os.CreateTemp(s.path("tmp"), hexOf(digest)+".*")
	if err != nil {
		return fmt.Errorf("store model file: %w", explain(err))
	}
	err = copyExactly(ctx, f, digest, size, r)
	if err := commit(f, s.blobPath(digest), err); err != nil {
		os.Remove(s.blobPath(digest)) // it may have its name already, unsynced
		return fmt.Errorf("store model file: %w", err)
	}
	return nil
}

// copyExactly copies size bytes from r, which has to end there, and compares
// their digest.
func copyExactly(ctx context.Context, w io.Writer, digest string, size int64, r io.Reader) error {
	h := sha256.New()
	buf := make([]byte, min(copyBuffer, size))
	for left := size; left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it ends after %d of %d bytes", ErrMismatch, size-left+int64(n), size)
		}
		if err != nil {
			return fmt.Errorf("read upload: %w", err)
		}
		h.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	if n, err := io.ReadFull(r, buf[:1]); n > 0 {
		return fmt.Errorf("%w: it goes on after %d bytes", ErrMismatch, size)
	} else if err != io.EOF {
		return fmt.Errorf("read upload: %w", err)
	}
	want, _ := hex.DecodeString(hexOf(digest)) // its syntax was checked
	if got := h.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its digest is sha256:%x, not %s", ErrMismatch, got, digest)
	}
	return nil
}
