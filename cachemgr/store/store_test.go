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
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
