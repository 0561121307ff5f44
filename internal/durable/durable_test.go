package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "", "second"} {
		tmp, err := Temp(dir, ".new-*", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(tmp); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v: want mode 0600", info, err)
		}
		if err := Rename(tmp, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v; want %q", got, err, text)
		}
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestFinish(t *testing.T) {
	dir := t.TempDir()
	tmp, err := Temp(dir, "*", nil, func(f *os.File) error { return f.Chmod(0o644) })
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(tmp); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestFailuresLeaveNothing: neither a file in the making nor what was there changed.
func TestFailuresLeaveNothing(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	after := false
	_, err := Temp(dir, "*", nil, func(*os.File) error { return broken }, func(*os.File) error { after = true; return nil })
	if !errors.Is(err, broken) || after {
		t.Errorf("%v, went on: %v", err, after)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	tmp, err := Temp(dir, "*", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Rename(tmp, filepath.Join(dir, "no", "folder")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved into a folder that is not there: %v", err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := Temp(filepath.Join(dir, "no"), "*", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made in a folder that is not there: %v", err)
	}
	if err := Sync(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("synced: %v", err)
	}
}
