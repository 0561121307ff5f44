package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestQuotaTakesTheLeastRecentlyUsedFirst(t *testing.T) {
	f := open(t, 10)
	a, b, c := f.put("aaa"), f.put("bbb"), f.put("ccc")
	f.clk.add(time.Second)
	if _, err := f.Path(a); err != nil { // now b is the oldest
		t.Fatal(err)
	}
	d := f.put("ddd")
	for digest, want := range map[string]bool{a: true, b: false, c: true, d: true} {
		if f.Has(digest) != want {
			t.Errorf("%s is there: %v, want %v", digest[:12], !want, want)
		}
	}
	f.register("f", offer("m", "1", "ccc"))
	f.register("f", offer("n", "1", "ddd"))
	if err := f.Put(t.Context(), digestOf("eeeee"), 5, strings.NewReader("eeeee")); !errors.Is(err, ErrQuota) {
		t.Errorf("more than what is not in use: %v", err)
	}
	if !f.Has(a) {
		t.Error("a file was deleted for an upload that does not fit anyway")
	}
	f.put("eeee")
	if f.Has(a) || !f.Has(c) || !f.Has(d) {
		t.Error("a file in use was deleted, or one that is not was kept")
	}
}

func TestManyUploadsUnderAQuota(t *testing.T) {
	f := open(t, 50)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			content := fmt.Sprintf("%010d", i%16)
			err := f.Put(t.Context(), digestOf(content), 10, strings.NewReader(content))
			if err != nil && !errors.Is(err, ErrQuota) {
				t.Error(err)
			}
			if u := f.Usage(); u.Used > u.Quota {
				t.Errorf("%d of %d bytes are in use", u.Used, u.Quota)
			}
		})
	}
	wg.Wait()
	if u := f.Usage(); f.files() != u.Files || u.Used != int64(10*u.Files) {
		t.Errorf("%d files on disk, usage %+v", f.files(), u)
	}
}

func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs a small file system, cannot mount a tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s, err := Open(Config{Dir: dir, Quota: 1 << 30, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &fixture{Store: s, t: t, dir: dir}
	small := offer("small", "1", strings.Repeat("s", 100<<10))
	f.put(strings.Repeat("s", 100<<10))
	f.register("f", small)
	before := f.files()

	big := strings.Repeat("b", 300<<10)
	if err := s.Put(t.Context(), digestOf(big), int64(len(big)), strings.NewReader(big)); !errors.Is(err, ErrFull) {
		t.Fatalf("a file larger than the file system: %v", err)
	}
	if f.files() != before || s.Usage().Files != 1 {
		t.Errorf("left behind: %d files, %d before", f.files(), before)
	}
	for i := 0; ; i++ { // fill it to the last page
		if os.WriteFile(filepath.Join(dir, fmt.Sprint("filler", i)), []byte("x"), 0o600) != nil {
			break
		}
	}
	if err := s.Register(t.Context(), fn("g"), time.Time{}, small); !errors.Is(err, ErrFull) {
		t.Errorf("a registration on a full file system: %v", err)
	}
	if _, ok := s.Lookup(fn("g"), "small", ""); ok {
		t.Error("a registration that is not on disk is in memory")
	}
	if o, ok := s.Lookup(fn("f"), "small", ""); !ok || !o.Equal(small) {
		t.Error("an earlier registration is lost")
	}
	if file, _, err := s.OpenFile(small.Digest); err != nil {
		t.Error(err)
	} else {
		file.Close()
	}
}
