package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// suite is one test with its own engine.
type suite struct {
	*testing.T
	Fixtures
	engine engine.Engine
	atEnd  []io.Closer // closed in this order; the engine is the last
}

// patience is how long something that must happen may take on a busy machine.
const patience = 20 * time.Second

func (s *suite) open(m engine.Model) engine.Staged {
	s.Helper()
	st, err := s.engine.Open(s.Context(), m)
	if err != nil {
		s.Fatalf("open %s: %v", m.Name, err)
	}
	return st
}

func (s *suite) load(st engine.Staged) engine.Instance {
	s.Helper()
	i, err := st.Load(s.Context(), s.Device)
	if err != nil {
		s.Fatalf("load: %v", err)
	}
	return i
}

// resident opens and loads a model, and closes it when the test ends.
func (s *suite) resident(m engine.Model) (engine.Staged, engine.Instance) {
	s.Helper()
	st := s.open(m)
	i := s.load(st)
	s.atEnd = append(s.atEnd, i, st)
	return st, i
}

func (s *suite) close(closers ...io.Closer) {
	s.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	}
}

// run computes all outputs into memory that the engine allocates.
func (s *suite) run(i engine.Instance, spec engine.Spec, in []tensor.Tensor) []tensor.Tensor {
	s.Helper()
	out := unallocated(spec)
	if err := i.Run(s.Context(), in, out); err != nil {
		s.Fatalf("run: %v", err)
	}
	return out
}

// unallocated asks for all outputs, without buffers.
func unallocated(spec engine.Spec) []tensor.Tensor {
	out := make([]tensor.Tensor, len(spec.Outputs))
	for i, o := range spec.Outputs {
		out[i].Name = o.Name
	}
	return out
}

// inputs makes random inputs; dynamic dimensions become batch.
func inputs(spec engine.Spec, batch int64, seed uint64) []tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	in := make([]tensor.Tensor, len(spec.Inputs))
	for i, want := range spec.Inputs {
		in[i] = buffer(want, batch)
		for at := 0; at < len(in[i].Data); at += want.Datatype.Size() {
			putNumber(in[i].Data[at:], want.Datatype, rng.Float64()*4-2)
		}
	}
	return in
}

// buffer is a tensor of zeros that fits; dynamic dimensions become batch.
func buffer(want tensor.Spec, batch int64) tensor.Tensor {
	t := tensor.Tensor{Name: want.Name, Datatype: want.Datatype, Shape: make([]int64, len(want.Shape))}
	for i, d := range want.Shape {
		if t.Shape[i] = d; d < 0 {
			t.Shape[i] = batch
		}
	}
	n, err := tensor.ByteSize(t.Datatype, t.Shape)
	if err != nil {
		panic(fmt.Sprintf("spec %+v: %v", want, err)) // testSpecAndCost has checked it
	}
	t.Data = make([]byte, n)
	return t
}

func buffers(wants []tensor.Spec, batch int64) []tensor.Tensor {
	ts := make([]tensor.Tensor, len(wants))
	for i, w := range wants {
		ts[i] = buffer(w, batch)
	}
	return ts
}

// putNumber writes a small number in a datatype's encoding.
func putNumber(b []byte, d tensor.Datatype, v float64) {
	switch d {
	case tensor.FP32:
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
	case tensor.FP64:
		binary.LittleEndian.PutUint64(b, math.Float64bits(v))
	case tensor.FP16:
		binary.LittleEndian.PutUint16(b, 0x3000|uint16(int(v*256))&0x3ff) // 0.125 to 0.25
	case tensor.BF16:
		binary.LittleEndian.PutUint16(b, uint16(math.Float32bits(float32(v))>>16))
	default:
		b[0] = byte(int(v)) & 1 // any integer type, and BOOL
	}
}

// same reports whether two lists of outputs are equal bit by bit.
func same(a, b []tensor.Tensor) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d outputs", len(a), len(b))
	}
	for i := range a {
		switch {
		case a[i].Name != b[i].Name || fmt.Sprint(a[i].Shape) != fmt.Sprint(b[i].Shape):
			return fmt.Errorf("%s %v and %s %v", a[i].Name, a[i].Shape, b[i].Name, b[i].Shape)
		case !bytes.Equal(a[i].Data, b[i].Data):
			return fmt.Errorf("%s: the values differ", a[i].Name)
		case len(a[i].Data) == 0:
			return fmt.Errorf("%s is empty", a[i].Name)
		}
	}
	return nil
}

func (s *suite) wantError(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("got %v, want %v", err, want)
	}
}

// within fails the test if f takes longer than patience.
func (s *suite) within(what string, f func()) {
	s.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		s.Fatalf("%s took more than %v", what, patience)
	}
}
