package native

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func mapped(t testing.TB, bytes int) []byte {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Wherever tensors lie, the output is the same: in pinned memory, at odd places of
// it, across its end, and elsewhere.
func TestPin(t *testing.T) {
	const inputs, outputs = 1000, 300
	e := newEngine(t, Options{})
	st, i := load(t, e, planSpec{seed: 1, weights: 50_000, inputs: inputs, outputs: outputs})
	in := patterned(st.Spec().Inputs)
	out := []tensor.Tensor{{Name: "y"}}
	if err := i.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	want := out[0].Data

	memory := mapped(t, 1<<16)
	unpin, err := e.Pin(memory[:8192])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Pin(memory[4096:12288]); err == nil {
		t.Error("memory was pinned twice")
	}
	for _, at := range []struct{ in, out int }{{0, 4096}, {1, 4097}, {16, 8192 - 4*outputs}, {4192, 0}, {4196, 8191}, {20_000, 40_000}} {
		data := memory[at.in : at.in+4*inputs]
		copy(data, in[0].Data)
		out := []tensor.Tensor{{Name: "y", Datatype: tensor.FP32, Shape: []int64{outputs}, Data: memory[at.out : at.out+4*outputs]}}
		if err := i.Run(t.Context(), []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{inputs}, Data: data}}, out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[0].Data, want) {
			t.Errorf("another output for %+v", at)
		}
	}
	unpin()
	unpin()
	again, err := e.Pin(memory)
	if err != nil {
		t.Errorf("it cannot be pinned again: %v", err)
	}
	if _, err := e.Pin(nil); err == nil {
		t.Error("nothing was pinned")
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	again() // after the engine: nothing happens
	if _, err := e.Pin(memory); !errors.Is(err, errEngineClosed) {
		t.Errorf("got %v, want %v", err, errEngineClosed)
	}
}

func TestPinFails(t *testing.T) {
	for code, want := range map[string]error{"1": engine.ErrNoMemory, "2": engine.ErrDeviceLost} {
		e := newEngine(t, Options{Settings: "fault=pinHost:1:" + code})
		memory := mapped(t, 4096)
		if _, err := e.Pin(memory); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Inputs reach the device beside weights that are on their way there, pinned or
// not, and everybody's outputs stay right.
func TestPinnedRunsBesideLoads(t *testing.T) {
	e := newEngine(t, Options{})
	other, o := load(t, e, planSpec{seed: 2, weights: 1 << 20, inputs: 4, outputs: 4})
	st, i := load(t, e, planSpec{seed: 1, weights: 1000, inputs: 1000, outputs: 4})
	memory := mapped(t, 4096)
	unpin, err := e.Pin(memory)
	if err != nil {
		t.Fatal(err)
	}
	in := patterned(st.Spec().Inputs)
	pinned := slices.Clone(in)
	pinned[0].Data = memory[:len(in[0].Data)]
	copy(pinned[0].Data, in[0].Data)
	var want []byte
	stop := make(chan struct{})
	var loads sync.WaitGroup
	loads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := o.Close(); err != nil {
				t.Error(err)
				return
			}
			if o, err = other.Load(t.Context(), double); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range 200 {
		out := []tensor.Tensor{{Name: "y"}}
		if err := i.Run(t.Context(), [][]tensor.Tensor{in, pinned}[n%2], out); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = out[0].Data
		}
		if !bytes.Equal(out[0].Data, want) {
			t.Fatalf("run %d has another output", n)
		}
	}
	close(stop)
	loads.Wait()
	unpin()
	if err := errors.Join(o.Close(), other.Close(), i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}
