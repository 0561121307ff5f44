package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// A blob that is there under its name is whole: it gets the name only once it
// was written.

func (s *Store) blob(digest v1.Hash) string {
	return filepath.Join(s.dir, "blobs", "sha256", digest.Hex)
}

// writeImage writes the blobs of img and describes its manifest.
func (s *Store) writeImage(img v1.Image) (v1.Descriptor, error) {
	layers, err := img.Layers()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, layer := range layers {
		if err := s.writeLayer(layer); err != nil {
			return v1.Descriptor{}, err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, data := range [][]byte{config, manifest} {
		if err := s.writeBlob(bytes.NewReader(data)); err != nil {
			return v1.Descriptor{}, err
		}
	}
	descriptor, err := partial.Descriptor(img)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return *descriptor, nil
}

func (s *Store) writeLayer(layer v1.Layer) error {
	// A streamed layer does not know its digest before it was read.
	if digest, err := layer.Digest(); err == nil {
		if _, err := os.Stat(s.blob(digest)); err == nil {
			return nil
		}
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	err = s.writeBlob(content)
	// A streamed layer computes its digest when it is closed.
	return errors.Join(err, content.Close())
}

func (s *Store) writeBlob(content io.Reader) error {
	sum := sha256.New()
	tmp, err := os.CreateTemp(s.dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, io.TeeReader(content, sum))
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), s.blob(hashOf(sum)))
}

// prune removes every blob that no image of the index has, and what builds that
// were killed left. The caller holds the lock.
func (s *Store) prune(index *v1.IndexManifest) error {
	used := map[string]bool{}
	for _, d := range index.Manifests {
		img, err := s.open(d.Digest)
		if err != nil {
			// Not an image that this package wrote: nothing is known to be unused.
			return nil
		}
		manifest, err := img.Manifest()
		if err != nil {
			return nil
		}
		used[d.Digest.Hex], used[manifest.Config.Digest.Hex] = true, true
		for _, layer := range manifest.Layers {
			used[layer.Digest.Hex] = true
		}
	}
	blobs := filepath.Join(s.dir, "blobs", "sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		if !used[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(blobs, e.Name())))
		}
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, tempPrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

const tempPrefix = "tmp-"

// writeFile replaces a file by one with this content, or does nothing.
func writeFile(name string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
