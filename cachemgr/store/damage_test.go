package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCorruptFilesAreSetAside(t *testing.T) {
	f := open(t, 1000)
	for _, name := range []string{"good", "cut", "alien", "lost", "short"} {
		f.put(name + " file")
		f.register(name, offer("m", "1", name+" file"))
	}
	f.references(3, "good", "cut", "alien", "lost", "short")
	edit := func(path string, change func([]byte) []byte) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	edit(f.functionPath(fn("cut")), func(b []byte) []byte { return b[:len(b)/2] })
	edit(f.functionPath(fn("alien")), func(b []byte) []byte { return []byte(strings.Replace(string(b), "alien", "other", 1)) })
	edit(f.blobPath(digestOf("short file")), func(b []byte) []byte { return b[:3] })
	edit(f.path("references.json"), func([]byte) []byte { return []byte("{}{}") })
	if err := os.Remove(f.blobPath(digestOf("lost file"))); err != nil {
		t.Fatal(err)
	}
	for _, junk := range []string{"tmp/half", "blobs/README", "blobs/" + strings.Repeat("A", 64)} {
		if err := os.WriteFile(filepath.Join(f.dir, junk), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(f.path("functions", "folder.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.reopen(1000)

	if f.Models(fn("good")) == nil {
		t.Error("a good registration is gone")
	}
	for _, name := range []string{"cut", "alien", "lost", "short"} {
		if got := f.Models(fn(name)); len(got) != 0 {
			t.Errorf("%s has models %v", name, got)
		}
	}
	aside, _ := filepath.Glob(f.path("*", "*.corrupt"))
	if len(aside) != 3 {
		t.Errorf("set aside: %v", aside)
	}
	for _, said := range []string{"references.json", "unexpected EOF", "does not belong", "lost its file", "README"} {
		if !strings.Contains(f.log.String(), said) {
			t.Errorf("the log does not say %q", said)
		}
	}
	if _, err := os.Stat(filepath.Join(f.dir, "tmp/half")); !os.IsNotExist(err) {
		t.Error("an unfinished upload is still there")
	}
	f.put("short file") // can be brought again
	f.register("short", offer("m", "1", "short file"))
}

func TestOneProcessAtATime(t *testing.T) {
	f := open(t, 1000)
	if _, err := Open(Config{Dir: f.dir, Quota: 1000, Log: f.Store.log}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second open: %v", err)
	}
}
