package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		buildUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// quietGPU is idle and has room.
type quietGPU struct {
	mu       sync.Mutex
	reserved int64
	most     int64
	stamp    uint64
	busy     bool
	err      error
}

func (g *quietGPU) Activity() (uint64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stamp, g.busy
}

func (g *quietGPU) Reserve(_ context.Context, n int64) (func(), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return nil, g.err
	}
	g.reserved += n
	g.most = max(g.most, g.reserved)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reserved -= n
	}, nil
}

// config is of a builder in a folder of the test's, for change to change.
func config(t testing.TB, dir string, environ ...string) Config {
	t.Helper()
	return configOf(testlibs.Builder(t), dir, environ...)
}

func configOf(program, dir string, environ ...string) Config {
	return Config{
		Dir: dir, Quota: 1 << 20, Program: program, Environ: environ, Device: "GPU-double", GPU: &quietGPU{},
		DeviceMemory: 1000, HostMemory: 1 << 30, Timeout: time.Minute, Idle: time.Nanosecond, Patience: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	}
}

// open makes a builder that is closed with the test.
func open(t *testing.T, c Config) *Builder {
	t.Helper()
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() }) // tests of restarts close it before
	return b
}

// want is a plan of a model that differs with its seed.
func want(t testing.TB, seed uint64) Want {
	t.Helper()
	var model bytes.Buffer
	if err := modelgen.Write(&model, modelgen.Spec{Family: modelgen.Scale, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(model.Bytes())
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, model.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return Want{Digest: "sha256:" + hex.EncodeToString(sum[:]), ONNX: path, Precision: "fp16", Batch: 4}
}

func ignore(Progress) {}
