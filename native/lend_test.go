package native

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func kept(t *testing.T, e *Engine) int64 {
	t.Helper()
	d, err := e.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d[0].KeptBytes
}

// What an evicted model leaves is kept for the next one, unless others need it. (A
// part of the budget, which Overhead counts, does not show.)
func TestLend(t *testing.T) {
	e := newEngine(t, Options{DeviceBytes: 8 << 20})
	st, i := load(t, e, planSpec{seed: 1, weights: 500_000, inputs: 4, outputs: 4})
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if n := kept(t, e); n < 1_800_000 {
		t.Errorf("%d bytes are kept of a model of 2 MB", n)
	}
	end, err := e.Lend(double, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	if n := kept(t, e); n != 0 {
		t.Errorf("%d bytes are kept while all are lent", n)
	}
	if _, err := st.Load(t.Context(), double); !errors.Is(err, engine.ErrNoMemory) {
		t.Errorf("a load of lent bytes: got %v, want %v", err, engine.ErrNoMemory)
	}
	end()
	end() // a second time changes nothing
	if i, err = st.Load(t.Context(), double); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Lend("no device", 1); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("an unknown device: got %v, want %v", err, engine.ErrUnavailable)
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}
