package build

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openFolder(t *testing.T, dir string, quota int64) *plans {
	t.Helper()
	p, err := openPlans(dir, quota, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// keep keeps a plan of so many bytes.
func (p *plans) keepBytes(t *testing.T, id string, size int) error {
	t.Helper()
	if err := os.WriteFile(p.temporary(id), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := p.keep(p.temporary(id), record{ID: id, Digest: "sha256:" + id})
	return err
}

// Only whole plans count, and nothing else stays.
func TestHalfWrittenPlansAreRemoved(t *testing.T) {
	dir := t.TempDir()
	p := openFolder(t, dir, 1000)
	for _, id := range []string{"good", "cut", "lost", "unread", "renamed"} {
		if err := p.keepBytes(t, id, 100); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cut.plan", "too short")
	write("nameless.plan", "without a record")
	write("unread.json", "{")
	write("tmp/half.plan", "half")
	write("timing-1.cache", "timings")
	for _, err := range []error{
		os.Remove(filepath.Join(dir, "lost.plan")),
		os.Rename(filepath.Join(dir, "renamed.json"), filepath.Join(dir, "other.json")),
		p.close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p = openFolder(t, dir, 1000)
	defer p.close()
	if _, ok := p.use("good"); !ok || len(p.all) != 1 || p.used != 100 {
		t.Errorf("%d plans with %d bytes", len(p.all), p.used)
	}
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	})
	if got := strings.Join(names, " "); err != nil || got != " /good.json /good.plan /lock /timing-1.cache /tmp" {
		t.Errorf("there are%s", got)
	}
}

func TestQuotaOfPlans(t *testing.T) {
	dir := t.TempDir()
	p := openFolder(t, dir, 300)
	for _, id := range []string{"a", "b", "c"} {
		if err := p.keepBytes(t, id, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.keepBytes(t, "d", 100); !errors.Is(err, ErrQuota) {
		t.Errorf("all are in use, and one more: %v", err)
	}
	p.release("b")
	p.release("a") // later
	if err := p.keepBytes(t, "d", 100); err != nil {
		t.Error(err)
	}
	if _, ok := p.use("b"); ok {
		t.Error("the least recently used one is still there")
	}
	if _, ok := p.use("a"); !ok {
		t.Error("one more than was needed is gone")
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}

	// The order of use survives a restart.
	for i, id := range []string{"c", "d", "a"} {
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, id+".plan"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	p = openFolder(t, dir, 300)
	defer p.close()
	if _, ok := p.use("c"); !ok {
		t.Error("c is gone")
	}
	if err := p.keepBytes(t, "e", 150); err != nil {
		t.Error(err)
	}
	if len(p.all) != 2 || p.all["c"] == nil || p.all["e"] == nil || p.used != 250 {
		t.Errorf("%d plans with %d bytes", len(p.all), p.used)
	}
	if err := p.discard("e"); err != nil || p.used != 100 {
		t.Errorf("%d bytes, %v", p.used, err)
	}
	if err := p.prove("e", 0); err == nil {
		t.Error("a plan that was discarded was proved")
	}
}

func TestFolderIsLocked(t *testing.T) {
	dir := t.TempDir()
	p := openFolder(t, dir, 300)
	defer p.close()
	if _, err := openPlans(dir, 300, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v", err)
	}
}
