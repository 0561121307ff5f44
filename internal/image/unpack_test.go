package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// TestDamage damages each blob of an image in turn: it must be noticed, and
// nothing may be left.
func TestDamage(t *testing.T) {
	for _, damage := range []struct {
		name string
		do   func([]byte) []byte
	}{
		{"truncated", func(b []byte) []byte { return b[:len(b)-1] }},
		{"empty", func(b []byte) []byte { return nil }},
		{"one bit", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"longer", func(b []byte) []byte { return append(b, 'x') }},
	} {
		for i := range 3 {
			s := open(t)
			digest := add(t, s, "x", build(t, v1.Config{WorkingDir: "/w"}, File{Path: "a", Data: []byte("content")}))
			entries, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256"))
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(s.dir, "blobs", "sha256", entries[i].Name())
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, damage.do(b), 0o644); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := s.Unpack(digest, filepath.Join(dir, "root")); !errors.Is(err, ErrBad) {
				t.Errorf("%s blob %d: %v, want ErrBad", damage.name, i, err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s blob %d: left %v", damage.name, i, left)
			}
		}
	}
}

func TestLayerCompressions(t *testing.T) {
	var archive, zipped bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o600, Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		content []byte
		kind    types.MediaType
		ok      bool
	}{
		{"plain", archive.Bytes(), types.OCIUncompressedLayer, true},
		{"gzip", zipped.Bytes(), types.OCILayer, true},
		{"zstd", []byte("\x28\xb5\x2f\xfd...."), types.OCILayerZStd, false},
	} {
		s := open(t)
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer(c.content, c.kind))
		if err != nil {
			t.Fatal(err)
		}
		digest := add(t, s, "x", img)
		err = s.Unpack(digest, filepath.Join(t.TempDir(), "root"))
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t)
	digest := add(t, s, "x", build(t, v1.Config{}, File{Path: "a", Data: make([]byte, 1<<20)}))
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer unix.Unmount(dir, 0)
	err := s.Unpack(digest, filepath.Join(dir, "root"))
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrBad) {
		t.Errorf("got %v, want no space left and not ErrBad", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
