package onnxrt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func TestWithoutALibrary(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "libonnxruntime.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", filepath.Join(dir, "missing.so"), text} {
		e, err := New(Options{Library: path})
		if !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%q", path)) {
			t.Errorf("%q: got %v, %v, want %v that names the path", path, e, err, engine.ErrUnavailable)
		}
	}
}

func TestEnginesShareTheLibrary(t *testing.T) {
	const limit = 1 << 30
	m := write(t, modelgen.Spec{Family: modelgen.SqueezeNet, Width: 0.25, Resolution: 32})
	image := randomImage(32)
	first := newEngine(t, Options{Threads: 1, MemoryLimit: limit})
	second := newEngine(t, Options{Threads: 2, MemoryLimit: limit})

	// What cannot be shared is refused.
	if e, err := New(Options{Library: "/other/libonnxruntime.so", MemoryLimit: limit}); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("another library beside: %v, %v", e, err)
	}
	if e, err := New(Options{Library: testlibs.ONNXRuntime(t), MemoryLimit: limit / 2}); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("another limit beside: %v, %v", e, err)
	}

	// Closing one leaves the other.
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, second)
	want := answer(t, resident(t, second, m), image)
	third := ownEngine(t, Options{Threads: 1, MemoryLimit: limit})
	if got := answer(t, resident(t, third, m), image); got != want {
		t.Error("two engines answer differently")
	}
}

// The library can be closed and loaded again.
func TestReopen(t *testing.T) {
	m := write(t, modelgen.Spec{Family: modelgen.SqueezeNet, Width: 0.25, Resolution: 32})
	image, want := randomImage(32), ""
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			got := answer(t, resident(t, ownEngine(t, Options{Threads: 1 + round%2}), m), image)
			if want == "" {
				want = got
			}
			if got != want {
				t.Error("another answer than the first time")
			}
		})
		if held := allocated(); held != 0 {
			t.Errorf("round %d: %d bytes are still allocated", round, held)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{{Threads: -1}, {MaxOutputBytes: -1}, {MemoryLimit: -1}} {
		o.Library = testlibs.ONNXRuntime(t)
		if e, err := New(o); err == nil {
			t.Errorf("%+v: got an engine: %v", o, e)
		}
	}
}

// An engine with a model open is not taken from under it.
func TestCloseWhileAModelIsOpen(t *testing.T) {
	e := newEngine(t, Options{Threads: 1})
	st, err := e.Open(t.Context(), write(t, modelgen.Spec{Family: modelgen.SqueezeNet, Width: 0.25, Resolution: 32}))
	if err != nil {
		t.Fatal(err)
	}
	i, err := st.Load(t.Context(), CPU)
	if err != nil {
		t.Fatal(err)
	}
	image := randomImage(32)
	want := answer(t, i, image)
	if err := e.Close(); !errors.Is(err, errModelsOpen) {
		t.Errorf("got %v, want %v", err, errModelsOpen)
	}
	if got := answer(t, i, image); got != want {
		t.Error("it answers something else")
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}
