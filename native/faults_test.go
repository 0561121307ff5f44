package native

import (
	"bytes"
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestOutOfMemory(t *testing.T) {
	e := newEngine(t, Options{DeviceBytes: 2 << 20})
	st, i := load(t, e, planSpec{seed: 1, weights: 200_000, inputs: 4, outputs: 4})
	second, err := e.Open(t.Context(), writePlan(t, planSpec{seed: 2, weights: 300_000, inputs: 4, outputs: 4}))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := second.Load(t.Context(), double); !errors.Is(err, engine.ErrNoMemory) || i != nil {
		t.Errorf("got %v, want %v", err, engine.ErrNoMemory)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	i, err = second.Load(t.Context(), double)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(i.Close(), second.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

// A lost device fails everything from then on, and what is open can be closed.
func TestDeviceLost(t *testing.T) {
	e := newEngine(t, Options{Settings: "fault=launch:7:2"}) // four uploads, two runs, then
	st, i := load(t, e, planSpec{weights: 50_000, inputs: 4, outputs: 4})
	out := []tensor.Tensor{{Name: "y"}}
	if err := i.Run(t.Context(), input(4), out); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := i.Run(t.Context(), input(4), out); !errors.Is(err, engine.ErrDeviceLost) {
			t.Errorf("run: got %v, want %v", err, engine.ErrDeviceLost)
		}
	}
	if err := i.Close(); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("close: got %v, want %v", err, engine.ErrDeviceLost)
	}
	if _, err := e.Devices(t.Context()); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("devices: got %v, want %v", err, engine.ErrDeviceLost)
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

// An eviction leaves the unmapping to a later load. Where that fails, the load can
// be tried again, and nothing is lost.
func TestUnmappingFails(t *testing.T) {
	e := newEngine(t, Options{Settings: "fault=unmap:1:6"})
	st, i := load(t, e, planSpec{seed: 1, weights: 50_000, inputs: 4, outputs: 4})
	want := runY(t, i)
	resident := held(t, e)
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	evicted := held(t, e)
	if evicted > resident-150_000 {
		t.Errorf("%d bytes are held, and %d were before the eviction", evicted, resident)
	}
	if _, err := st.Load(t.Context(), double); err == nil {
		t.Error("nothing failed")
	}
	if after := held(t, e); after != evicted {
		t.Errorf("a load that failed holds %d bytes", after-evicted)
	}
	i, err := st.Load(t.Context(), double)
	if err != nil {
		t.Fatal(err)
	}
	if got := runY(t, i); !bytes.Equal(got, want) {
		t.Error("another output")
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

// runY is the output y for an input that is no zeros.
func runY(t *testing.T, i engine.Instance) []byte {
	t.Helper()
	in := input(4)
	for n := range in[0].Data {
		in[0].Data[n] = byte(n % 60)
	}
	out := []tensor.Tensor{{Name: "y"}}
	if err := i.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	return out[0].Data
}

// Where the pinned host pool is full, a model waits as a file: one that is closed
// makes room, and is read again when it is opened again.
func TestHostPool(t *testing.T) {
	e := newEngine(t, Options{HostBytes: 600_000})
	first, i := load(t, e, planSpec{seed: 1, weights: 100_000, inputs: 4, outputs: 4})
	want := runY(t, i)
	model := writePlan(t, planSpec{seed: 1, weights: 100_000, inputs: 4, outputs: 4})
	second, err := e.Open(t.Context(), writePlan(t, planSpec{seed: 2, weights: 100_000, inputs: 4, outputs: 4}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Load(t.Context(), double); !errors.Is(err, engine.ErrNoMemory) {
		t.Errorf("got %v, want %v: the pool is full", err, engine.ErrNoMemory)
	}
	if err := errors.Join(i.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	i, err = second.Load(t.Context(), double)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(i.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := e.Open(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	if i, err = again.Load(t.Context(), double); err != nil {
		t.Fatal(err)
	}
	if got := runY(t, i); !bytes.Equal(got, want) {
		t.Error("another output")
	}
	if err := errors.Join(i.Close(), again.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}
