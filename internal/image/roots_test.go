package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestRoots(t *testing.T) {
	s := open(t)
	digest := add(t, s, "x", build(t, v1.Config{}, File{Path: "a", Data: []byte("1")}))
	dir := t.TempDir()
	leftovers := []string{"sha256-00", tempPrefix + "sha256-11"}
	for _, name := range leftovers {
		if err := os.MkdirAll(filepath.Join(dir, name, "f"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewRoots(s, dir)
	if err != nil {
		t.Fatal(err)
	}
	root, release, err := r.Hold(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, name := range leftovers {
		if exists(filepath.Join(dir, name)) {
			t.Errorf("%s was not swept", name)
		}
	}
	again, releaseAgain, err := r.Hold(digest)
	if err != nil || again != root {
		t.Fatalf("second hold: %s, %v; want %s", again, err, root)
	}
	release()
	release() // counts once
	if !exists(filepath.Join(root, "a")) {
		t.Error("the tree is gone while it is held")
	}
	releaseAgain()
	if exists(root) {
		t.Error("the tree is there and nobody holds it")
	}
	if _, _, err := r.Hold("sha256:" + strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown digest: %v", err)
	}
	for _, bad := range []string{"", "x", "sha256:../../x", "sha256:1"} {
		if _, _, err := r.Hold(bad); !errors.Is(err, ErrBad) {
			t.Errorf("digest %q: %v, want ErrBad", bad, err)
		}
	}
}

func TestRootsConcurrently(t *testing.T) {
	s := open(t)
	digest := add(t, s, "x", build(t, v1.Config{}, File{Path: "a", Data: []byte("1")}))
	r, err := NewRoots(s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				root, release, err := r.Hold(digest)
				if err != nil {
					t.Error(err)
					return
				}
				if !exists(filepath.Join(root, "a")) {
					t.Error("a held tree is not whole")
				}
				release()
			}
		})
	}
	all.Wait()
}
