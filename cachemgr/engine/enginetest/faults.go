package enginetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func testBadInput(s *suite) {
	st, i := s.resident(s.Models[0])
	spec := st.Spec()
	good := inputs(spec, 1, 1)
	want := s.run(i, spec, good)

	type tensors = []tensor.Tensor
	for _, c := range []struct {
		name   string
		change func(in, out *tensors)
	}{
		{"no inputs", func(in, _ *tensors) { *in = nil }},
		{"an unknown input", func(in, _ *tensors) { (*in)[0].Name = "no such input" }},
		{"an input more", func(in, _ *tensors) { *in = append(*in, tensor.Tensor{Name: "more", Datatype: tensor.FP32}) }},
		{"an input twice", func(in, _ *tensors) { *in = append(*in, (*in)[0]) }},
		{"input of another datatype", func(in, _ *tensors) { (*in)[0].Datatype = other((*in)[0].Datatype) }},
		{"input without a datatype", func(in, _ *tensors) { (*in)[0].Datatype = "" }},
		{"input of another shape", func(in, _ *tensors) { (*in)[0].Shape[len((*in)[0].Shape)-1]++ }},
		{"input of another rank", func(in, _ *tensors) { (*in)[0].Shape = append((*in)[0].Shape, 1) }},
		{"input of a negative shape", func(in, _ *tensors) { (*in)[0].Shape[0] = -1 }},
		{"input of an enormous shape", func(in, _ *tensors) { (*in)[0].Shape[0] = 1 << 62 }},
		{"input too short", func(in, _ *tensors) { (*in)[0].Data = (*in)[0].Data[1:] }},
		{"input too long", func(in, _ *tensors) { (*in)[0].Data = append((*in)[0].Data, 0) }},
		{"input without data", func(in, _ *tensors) { (*in)[0].Data = nil }},
		{"an unknown output", func(_, out *tensors) { (*out)[0].Name = "no such output" }},
		{"an output twice", func(_, out *tensors) { *out = append(*out, (*out)[0]) }},
		{"output of another datatype", func(_, out *tensors) { (*out)[0].Datatype = other((*out)[0].Datatype) }},
		{"output of another shape", func(_, out *tensors) { (*out)[0].Shape[0]++ }},
		{"output too short", func(_, out *tensors) { (*out)[0].Data = (*out)[0].Data[1:] }},
		{"output too long", func(_, out *tensors) { (*out)[0].Data = append((*out)[0].Data, 0) }},
	} {
		in, out := clone(good), buffers(spec.Outputs, 1)
		for n := range in {
			in[n].Shape = slices.Clone(in[n].Shape)
		}
		marked := out[0].Data
		for n := range marked {
			marked[n] = 0xa5
		}
		c.change(&in, &out)
		if err := i.Run(s.Context(), in, out); !errors.Is(err, engine.ErrBadInput) {
			s.Errorf("%s: got %v, want %v", c.name, err, engine.ErrBadInput)
		}
		if len(bytes.Trim(marked, "\xa5")) > 0 {
			s.Errorf("%s: something was written to the output", c.name)
		}
	}
	if err := same(s.run(i, spec, good), want); err != nil {
		s.Errorf("after all that: %v", err)
	}
}

func other(d tensor.Datatype) tensor.Datatype {
	if d == tensor.FP32 {
		return tensor.Int32 // as large
	}
	return tensor.FP32
}

func testBadFiles(s *suite) {
	good, err := os.ReadFile(s.Models[0].Path)
	if err != nil {
		s.Fatal(err)
	}
	swapped := slices.Clone(good)
	slices.Reverse(swapped)
	dir := s.TempDir()
	for name, content := range map[string][]byte{
		"empty":            {},
		"text":             []byte("<html>404 not found</html>"),
		"half":             good[:len(good)/2],
		"without its head": good[16:],
		"one byte short":   good[:len(good)-1],
		"backwards":        swapped,
		"zeros":            make([]byte, len(good)),
	} {
		m := s.Models[0]
		m.Path = filepath.Join(dir, name)
		if err := os.WriteFile(m.Path, content, 0o600); err != nil {
			s.Fatal(err)
		}
		s.wantBadModel(name, m)
	}
	missing, folder, format := s.Models[0], s.Models[0], s.Models[0]
	missing.Path = filepath.Join(dir, "no such file")
	folder.Path = dir
	format.Format = "abacus"
	s.wantBadModel("missing", missing)
	s.wantBadModel("a folder", folder)
	s.wantBadModel("an unknown format", format)
}

// wantBadModel wants m to be refused when it is opened, or at the latest when it
// is loaded.
func (s *suite) wantBadModel(what string, m engine.Model) {
	s.Helper()
	st, err := s.engine.Open(s.Context(), m)
	if err == nil {
		defer s.close(st)
		var i engine.Instance
		if i, err = st.Load(s.Context(), s.Device); err == nil {
			s.close(i)
		}
	}
	if !errors.Is(err, engine.ErrBadModel) {
		s.Errorf("%s: got %v, want %v", what, err, engine.ErrBadModel)
	}
}

func testFailedLoad(s *suite) {
	if s.FailingLoad == nil {
		s.Skip("the format has no model that opens and does not load")
	}
	st := s.open(*s.FailingLoad)
	for range 3 { // the same each time: nothing is left that is in the way
		i, err := st.Load(s.Context(), s.Device)
		if !errors.Is(err, engine.ErrBadModel) || i != nil {
			s.Fatalf("got %v, %v, want %v", i, err, engine.ErrBadModel)
		}
	}
	s.close(st)
}

func testCancelled(s *suite) {
	gone, cancel := context.WithCancel(s.Context())
	cancel()
	if st, err := s.engine.Open(gone, s.Models[0]); !errors.Is(err, context.Canceled) {
		s.Errorf("open: got %v, %v", st, err)
	}
	st := s.open(s.Models[0])
	if i, err := st.Load(gone, s.Device); !errors.Is(err, context.Canceled) || i != nil {
		s.Errorf("load: got %v, %v", i, err)
	}
	i := s.load(st)
	in := inputs(st.Spec(), 1, 1)
	s.wantError(i.Run(gone, in, unallocated(st.Spec())), context.Canceled)
	// A ctx that ends after the run has no effect on the next one.
	for range 50 {
		ctx, cancel := context.WithCancel(s.Context())
		if err := i.Run(ctx, in, unallocated(st.Spec())); err != nil {
			s.Fatal(err)
		}
		cancel()
	}
	s.close(i, st)
}

func testEndless(s *suite) {
	if s.Endless == nil {
		s.Skip("the format cannot express a model without an end")
	}
	st, i := s.resident(*s.Endless)
	neighbour, resident := s.resident(s.Models[0])
	in := inputs(st.Spec(), 1, 1)
	for _, end := range []func() (context.Context, context.CancelFunc, error){
		func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithTimeout(s.Context(), 50*time.Millisecond)
			return ctx, cancel, context.DeadlineExceeded
		},
		func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(s.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel, context.Canceled
		},
	} {
		ctx, cancel, want := end()
		s.within("ending an endless run", func() { s.wantError(i.Run(ctx, in, unallocated(st.Spec())), want) })
		cancel()
		s.run(resident, neighbour.Spec(), inputs(neighbour.Spec(), 1, 1))
	}
}

func testHuge(s *suite) {
	if s.Huge == nil {
		s.Skip("the format cannot express a model that asks for memory by its input")
	}
	st, i := s.resident(s.Huge.Model)
	small := s.Huge.Input(false)
	want := s.run(i, st.Spec(), small)
	for range 3 {
		err := i.Run(s.Context(), s.Huge.Input(true), unallocated(st.Spec()))
		if !errors.Is(err, engine.ErrNoMemory) && !errors.Is(err, engine.ErrBadInput) {
			s.Fatalf("got %v, want %v", err, engine.ErrNoMemory)
		}
		if err := same(s.run(i, st.Spec(), small), want); err != nil {
			s.Errorf("afterwards: %v", err)
		}
	}
}
