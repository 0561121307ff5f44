package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time      { return time.Unix(1_900_000_000, c.at.Load()) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }

// fixture is a store with what tests need around it.
type fixture struct {
	*Store
	t   *testing.T
	dir string
	clk clock
	log bytes.Buffer
}

func open(t *testing.T, quota int64) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.reopen(quota)
	t.Cleanup(func() { f.Close() })
	return f
}

// reopen closes the store, as a restart would, and opens it again.
func (f *fixture) reopen(quota int64) {
	f.t.Helper()
	if f.Store != nil {
		f.Close()
	}
	var err error
	f.Store, err = Open(Config{Dir: f.dir, Quota: quota, Log: slog.New(slog.NewTextHandler(&f.log, nil)), Now: f.clk.now})
	if err != nil {
		f.t.Fatal(err)
	}
}

func digestOf(content string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))
}

func (f *fixture) put(content string) string {
	f.t.Helper()
	d := digestOf(content)
	f.clk.add(time.Second) // so that the order of uploads shows
	if err := f.Put(f.t.Context(), d, int64(len(content)), strings.NewReader(content)); err != nil {
		f.t.Fatal(err)
	}
	return d
}

func offer(name, version, content string) api.Offer {
	return api.Offer{Name: name, Version: version, Format: "onnx", Digest: digestOf(content), Size: int64(len(content))}
}

func fn(name string) api.FunctionRef {
	return api.FunctionRef{Namespace: "openfaas-fn", Name: name, UID: "uid-" + name}
}

func (f *fixture) register(function string, o api.Offer) {
	f.t.Helper()
	if err := f.Register(f.t.Context(), fn(function), f.clk.now(), o); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) references(generation uint64, functions ...string) Dropped {
	f.t.Helper()
	f.clk.add(time.Second)
	refs := api.References{Generation: generation, At: f.clk.now()}
	for _, name := range functions {
		refs.Functions = append(refs.Functions, fn(name))
	}
	d, err := f.SetReferences(f.t.Context(), refs)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// files counts all files in the store's folder but the lock.
func (f *fixture) files() int {
	f.t.Helper()
	n := -1
	err := filepath.WalkDir(f.dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestPutAndRead(t *testing.T) {
	f := open(t, 1<<20)
	content := strings.Repeat("weights", 100_000)
	d := f.put(content)
	file, size, err := f.OpenFile(d)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := io.ReadAll(file)
	if err != nil || string(got) != content || size != int64(len(content)) {
		t.Errorf("read %d bytes of %d: %v", len(got), size, err)
	}
	if path, err := f.Path(d); err != nil || filepath.Dir(path) != filepath.Join(f.dir, "blobs") {
		t.Errorf("Path is %q, %v", path, err)
	}
	if u := f.Usage(); u.Used != size || u.Files != 1 || u.Quota != 1<<20 {
		t.Errorf("usage %+v", u)
	}
	if f.Has(digestOf("other")) {
		t.Error("it has a file that nobody brought")
	}
	if _, err := f.Path(digestOf("other")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Path of a missing file: %v", err)
	}
}

func TestBadUploadsLeaveNothing(t *testing.T) {
	f := open(t, 1000)
	broken := errors.New("connection reset")
	d := digestOf("abc")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		digest string
		size   int64
		r      io.Reader
		want   error
	}{
		{"other bytes", t.Context(), d, 3, strings.NewReader("abd"), ErrMismatch},
		{"too short", t.Context(), d, 3, strings.NewReader("ab"), ErrMismatch},
		{"too long", t.Context(), d, 3, strings.NewReader("abcd"), ErrMismatch},
		{"reader fails", t.Context(), d, 3, io.MultiReader(strings.NewReader("a"), iotest.ErrReader(broken)), broken},
		{"reader fails at the end", t.Context(), d, 3, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), broken},
		{"caller gone", cancelled, d, 3, strings.NewReader("abc"), context.Canceled},
		{"over the quota", t.Context(), d, 1001, strings.NewReader("abc"), ErrQuota},
		{"no bytes", t.Context(), d, 0, strings.NewReader(""), ErrInvalid},
		{"negative size", t.Context(), d, -1, strings.NewReader(""), ErrInvalid},
		{"path in the digest", t.Context(), "sha256:../../../../etc/passwd", 3, strings.NewReader("abc"), ErrInvalid},
		{"capital digits", t.Context(), strings.ToUpper(d), 3, strings.NewReader("abc"), ErrInvalid},
		{"other algorithm", t.Context(), "md5:900150983cd24fb0d6963f7d28e17f72", 3, strings.NewReader("abc"), ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := f.Put(tt.ctx, tt.digest, tt.size, tt.r); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if n, u := f.files(), f.Usage(); n != 0 || u.Used != 0 || u.Files != 0 {
				t.Errorf("left behind: %d files, %+v", n, u)
			}
		})
	}
	f.put("abc") // a digest that failed can be brought again
}

func TestEqualUploadsAreWrittenOnce(t *testing.T) {
	f := open(t, 1000)
	var reads atomic.Int32
	started, goOn := make(chan struct{}), make(chan struct{})
	first := io.MultiReader(readerFunc(func([]byte) (int, error) {
		close(started)
		<-goOn
		return 0, io.EOF
	}), strings.NewReader("abc"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Put(t.Context(), digestOf("abc"), 3, first); err != nil {
			t.Error(err)
		}
	})
	<-started
	for range 8 {
		wg.Go(func() {
			r := readerFunc(func([]byte) (int, error) { reads.Add(1); return 0, io.EOF })
			if err := f.Put(t.Context(), digestOf("abc"), 3, r); err != nil {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Put(ctx, digestOf("abc"), 3, first); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter that gave up: %v", err)
	}
	close(goOn)
	wg.Wait()
	if n := reads.Load(); n != 0 {
		t.Errorf("%d other uploads were read", n)
	}
	if f.Usage().Used != 3 {
		t.Errorf("usage %+v", f.Usage())
	}
}

func TestWaiterTakesOverFromAFailedUpload(t *testing.T) {
	f := open(t, 1000)
	started, goOn := make(chan struct{}), make(chan struct{})
	bad := readerFunc(func([]byte) (int, error) {
		close(started)
		<-goOn
		return 0, errors.New("broken")
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Put(t.Context(), digestOf("abc"), 3, bad); err == nil {
			t.Error("a broken upload succeeded")
		}
	})
	<-started
	wg.Go(func() {
		if err := f.Put(t.Context(), digestOf("abc"), 3, strings.NewReader("abc")); err != nil {
			t.Error(err)
		}
	})
	close(goOn)
	wg.Wait()
	if !f.Has(digestOf("abc")) {
		t.Error("the second upload is not there")
	}
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

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
	fill := strings.Repeat("f", 148<<10)
	if err := os.WriteFile(filepath.Join(dir, "filler"), []byte(fill), 0o600); err == nil {
		t.Log("the filler fitted whole")
	}
	for i := 0; ; i++ { // to the last page
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
	if o, ok := s.Lookup(fn("f"), "small", ""); !ok || o != small {
		t.Error("an earlier registration is lost")
	}
	if file, _, err := s.OpenFile(small.Digest); err != nil {
		t.Error(err)
	} else {
		file.Close()
	}
}
