package onnxrt

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/enginetest"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	o.Library = testlibs.ONNXRuntime(t)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ownEngine is one that is closed when the test ends.
func ownEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e := newEngine(t, o)
	closed(t, e)
	return e
}

// closed closes what a test opened, at its end.
func closed(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// write makes a model file.
func write(t testing.TB, s modelgen.Spec) engine.Model {
	t.Helper()
	var b bytes.Buffer
	if err := modelgen.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return save(t, string(s.Family), b.Bytes())
}

func save(t testing.TB, name string, file []byte) engine.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".onnx")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return engine.Model{Name: name, Path: path, Format: engine.FormatONNX}
}

func TestConformance(t *testing.T) {
	endless := write(t, modelgen.Spec{Family: modelgen.Endless})
	fixtures := enginetest.Fixtures{
		Device: CPU,
		Models: []engine.Model{
			write(t, modelgen.Spec{Family: modelgen.SqueezeNet, Seed: 1, Width: 0.25, Resolution: 32}),
			write(t, modelgen.Spec{Family: modelgen.MobileNetV2, Seed: 2, Width: 0.25, Resolution: 32}),
			write(t, modelgen.Spec{Family: modelgen.ResNet18, Seed: 3, Width: 0.125, Resolution: 32}),
			write(t, modelgen.Spec{Family: modelgen.ResNet50, Seed: 4, Width: 0.125, Resolution: 32}),
			write(t, modelgen.Spec{Family: modelgen.VGG16, Seed: 5, Width: 0.125, Resolution: 32}),
		},
		Dynamic:     write(t, modelgen.Spec{Family: modelgen.Scale, Seed: 1}),
		Endless:     &endless,
		Huge:        hugeModel(t),
		FailingLoad: unknownOperator(t),
	}
	enginetest.Run(t, func(t *testing.T) (engine.Engine, enginetest.Fixtures) {
		e, f := newEngine(t, Options{Threads: 1}), fixtures
		f.Held = func() int64 { return settled(t, e) }
		return e, f
	})
}

func hugeModel(t testing.TB) *enginetest.HugeModel {
	return &enginetest.HugeModel{
		Model: write(t, modelgen.Spec{Family: modelgen.Huge}),
		Input: func(huge bool) []tensor.Tensor {
			n := uint64(1000)
			if huge {
				n = 1 << 42 // floats: sixteen terabytes
			}
			return []tensor.Tensor{int64Input("n", n)}
		},
	}
}

func int64Input(name string, v uint64) tensor.Tensor {
	return tensor.Tensor{Name: name, Datatype: tensor.Int64, Shape: []int64{1}, Data: binary.LittleEndian.AppendUint64(nil, v)}
}

// unknownOperator is a well-formed file that no session can be made of.
func unknownOperator(t testing.TB) *engine.Model {
	var b bytes.Buffer
	if err := modelgen.Write(&b, modelgen.Spec{Family: modelgen.Relu}); err != nil {
		t.Fatal(err)
	}
	m := save(t, "unknown", bytes.Replace(b.Bytes(), []byte("Relu"), []byte("Rule"), 1))
	return &m
}

// settled is residentBytes once the trim that is due has happened.
func settled(t testing.TB, e *Engine) int64 {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		e.trim.mu.Lock()
		idle := e.trim.pending == nil
		e.trim.mu.Unlock()
		if idle {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no trim happened in ten seconds")
		}
	}
	e.trim.busy.Lock() // it has ended
	e.trim.busy.Unlock()
	debug.FreeOSMemory()
	return residentBytes(t)
}

// residentBytes is what the system counts for this process.
func residentBytes(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages int64
	for _, c := range bytes.Fields(b)[1] {
		pages = pages*10 + int64(c-'0')
	}
	return pages * int64(os.Getpagesize())
}
