package native

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/enginetest"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const double engine.DeviceID = "GPU-double"

func newEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	o.Library = testlibs.Double(t)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformance(t *testing.T) {
	dynamic := writePlan(t, planSpec{seed: 4, weights: 50_000, inputs: 16, outputs: 8, maxBatch: 8})
	foreign := writePlan(t, planSpec{weights: 1000, inputs: 16, outputs: 8, foreign: true})
	fixtures := enginetest.Fixtures{
		Device: double,
		Models: []engine.Model{
			writePlan(t, planSpec{seed: 1, weights: 100_000, inputs: 16, outputs: 8}),
			writePlan(t, planSpec{seed: 2, weights: 300_000, inputs: 100, outputs: 10}),
			writePlan(t, planSpec{seed: 3, weights: 60_001, inputs: 7, outputs: 1000, takes: 100 * time.Microsecond}),
			// An input that goes to the device in parts.
			writePlan(t, planSpec{seed: 5, weights: 80_000, inputs: 70_001, outputs: 9}),
		},
		Dynamic: dynamic,
		Huge: &enginetest.HugeModel{Model: dynamic, Input: func(huge bool) []tensor.Tensor {
			rows := int64(1)
			if huge {
				rows = 100_000 // the plan takes eight
			}
			return []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{rows, 16}, Data: make([]byte, rows*64)}}
		}},
		FailingLoad: &foreign,
	}
	for name, o := range map[string]Options{
		"remapped":      {},
		"deserialized":  {NoRemap: true},
		"unified":       {Settings: "unified=1"},
		"tight budgets": {DeviceBytes: 6 << 20, HostBytes: 4 << 20, Slots: 1},
	} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) (engine.Engine, enginetest.Fixtures) {
				e, f := newEngine(t, o), fixtures
				f.Held = func() int64 { return held(t, e) }
				return e, f
			})
		})
	}
}

// held is what the engine holds on the device, and does not keep for reuse.
func held(t testing.TB, e *Engine) int64 {
	t.Helper()
	d, err := e.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d[0].TotalBytes - d[0].FreeBytes
}

func TestUnavailable(t *testing.T) {
	notALibrary := filepath.Join(t.TempDir(), "libgpushim.so")
	if err := os.WriteFile(notALibrary, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ library, settings, reason string }{
		{"/no/such/libgpushim.so", "", "no such file"},
		{notALibrary, "", notALibrary},
		{"libdl.so.2", "", "not libgpushim.so"},
		{testlibs.Double(t), "memory=much", "memory=much"},
	} {
		e, err := New(Options{Library: tt.library, Settings: tt.settings})
		if !errors.Is(err, engine.ErrUnavailable) || e != nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.reason)) {
			t.Errorf("%s: got %v, want %v with %q", tt.library, err, engine.ErrUnavailable, tt.reason)
		}
	}
	if _, err := New(Options{Slots: -1}); err == nil {
		t.Error("-1 slots were accepted")
	}
}

// The real library loads where there is no GPU, and says what is missing.
func TestUnavailableDriver(t *testing.T) {
	path := filepath.Join(filepath.Dir(testlibs.Double(t)), "libgpushim.so")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("libgpushim.so is not built: %v", err)
	}
	e, err := New(Options{Library: path, Settings: "nvinfer=/no/such/libnvinfer.so"})
	if !errors.Is(err, engine.ErrUnavailable) || e != nil {
		t.Fatalf("got %v, want %v", err, engine.ErrUnavailable)
	}
	if s := err.Error(); !strings.Contains(s, "CUDA") && !strings.Contains(s, "TensorRT") {
		t.Errorf("%q names neither", s)
	}
}

func TestEngineClosesAfterItsModels(t *testing.T) {
	e := newEngine(t, Options{})
	st, err := e.Open(t.Context(), writePlan(t, planSpec{weights: 10, inputs: 1, outputs: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); !errors.Is(err, errModelsOpen) {
		t.Errorf("got %v, want %v", err, errModelsOpen)
	}
	for range 2 {
		if err := errors.Join(st.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := st.Load(t.Context(), double); err == nil {
		t.Error("a closed model was loaded")
	}
}

// The host image is the weights, and what an eviction leaves is small.
func TestCosts(t *testing.T) {
	for _, remaps := range []bool{true, false} {
		e := newEngine(t, Options{NoRemap: !remaps})
		st, i := load(t, e, planSpec{weights: 1 << 20, inputs: 4, outputs: 4})
		const weights = 4 << 20
		c := st.Cost(double)
		if c.Estimated || c.Resident < weights || c.Resident > weights+weights/10 || c.Host < weights || c.Host > weights+weights/10 {
			t.Errorf("remaps %v: %+v", remaps, c)
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if c.Residual > 1<<10 || !remaps && c.Residual != 0 {
			t.Errorf("remaps %v: a residual of %d bytes", remaps, c.Residual)
		}
		if err := errors.Join(st.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
}

func load(t *testing.T, e *Engine, s planSpec) (engine.Staged, engine.Instance) {
	t.Helper()
	st, err := e.Open(t.Context(), writePlan(t, s))
	if err != nil {
		t.Fatal(err)
	}
	i, err := st.Load(t.Context(), double)
	if err != nil {
		t.Fatal(err)
	}
	return st, i
}

func input(n int) []tensor.Tensor {
	return []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{int64(n)}, Data: make([]byte, 4*n)}}
}

// A run that waits for its turn ends with its ctx; a load goes on beside a run.
func TestBesideALongRun(t *testing.T) {
	e := newEngine(t, Options{Slots: 1})
	slowStaged, slow := load(t, e, planSpec{weights: 100, inputs: 4, outputs: 4, takes: 700 * time.Millisecond})
	st, i := load(t, e, planSpec{weights: 50_000, inputs: 4, outputs: 4})

	ended := make(chan error, 1)
	go func() { ended <- slow.Run(t.Context(), input(4), []tensor.Tensor{{Name: "y"}}) }()
	for len(e.devices[0].slots.free) > 0 { // until it has begun
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := i.Run(ctx, input(4), []tensor.Tensor{{Name: "y"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	for range 3 {
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if i, err = st.Load(t.Context(), double); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		t.Errorf("the long run was over first: %v", err)
	default:
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(i.Close(), st.Close(), slow.Close(), slowStaged.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

func BenchmarkRun(b *testing.B) {
	e := newEngine(b, Options{})
	st, err := e.Open(b.Context(), writePlan(b, planSpec{weights: 8, inputs: 4, outputs: 4}))
	if err != nil {
		b.Fatal(err)
	}
	i, err := st.Load(b.Context(), double)
	if err != nil {
		b.Fatal(err)
	}
	in, out := input(4), []tensor.Tensor{{Name: "y", Datatype: tensor.FP32, Shape: []int64{4}, Data: make([]byte, 16)}}
	b.ReportAllocs()
	for b.Loop() {
		if err := i.Run(b.Context(), in, out); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		b.Error(err)
	}
}
