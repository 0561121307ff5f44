package image

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

const maxEntries = 1 << 20

// Unpack makes the file tree of an image at dir, which must not exist, in a
// folder that does, and which is not there at all if it fails. ErrNotFound: no
// image has this digest; ErrBad.
func (s *Store) Unpack(digest, dir string) error {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	if !exists(s.blob(hash)) {
		return fmt.Errorf("%w: no image %s", ErrNotFound, digest)
	}
	img, err := s.open(hash)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := s.unpackTo(tmp, img); err != nil {
		return fmt.Errorf("image %s: %w", digest, err)
	}
	return os.Rename(tmp, dir)
}

func (s *Store) unpackTo(dir string, img v1.Image) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	u := &unpacker{root: root, bytes: s.MaxBytes, entries: maxEntries}
	for _, layer := range layers {
		if err := applyLayer(u, layer); err != nil {
			return err
		}
	}
	return syncTree(dir)
}

// applyLayer checks the layer's digest while it is read.
func applyLayer(u *unpacker, layer v1.Layer) error {
	want, err := layer.Digest()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	content, err := layer.Compressed()
	if err != nil {
		return fmt.Errorf("%w: layer %s: %w", ErrBad, want, err)
	}
	defer content.Close()
	sum := sha256.New()
	hashed := io.TeeReader(content, sum)
	archive, err := decompress(hashed)
	if err == nil {
		err = u.apply(archive)
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", want, err)
	}
	// The archive may end before the file does.
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return fmt.Errorf("layer %s: %w", want, err)
	}
	if got := hashOf(sum); got != want {
		return fmt.Errorf("%w: the layer %s has other content", ErrBad, want)
	}
	return nil
}

// decompress tells by its first bytes whether a layer is compressed.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBad, err)
		}
		return z, nil
	case string(magic) == "\x28\xb5\x2f\xfd":
		return nil, fmt.Errorf("%w: compressed with zstd; gzip and no compression are supported", ErrBad)
	}
	return b, nil
}

// syncTree makes what was written below dir survive a loss of power, as its name
// will promise.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
