package onnxrt

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// bind checks the caller's tensors and puts them in the slots. It writes to none
// of them.
func (c *call) bind(in, out []tensor.Tensor) error {
	spec := &c.staged.spec
	if err := engine.CheckNames("input", in, spec.Inputs); err != nil {
		return err
	}
	if err := engine.CheckNames("output", out, spec.Outputs); err != nil {
		return err
	}
	for i, want := range spec.Inputs {
		at := slices.IndexFunc(in, func(t tensor.Tensor) bool { return t.Name == want.Name })
		if at < 0 {
			return fmt.Errorf("%w: input %q is missing; the model takes %s", engine.ErrBadInput, want.Name, engine.Names(spec.Inputs))
		}
		if err := engine.CheckTensor("input", in[at], want); err != nil {
			return err
		}
		if err := c.unify(c.staged.model.Inputs[i], in[at].Shape); err != nil {
			return err
		}
		c.in[i] = slot{asked: true, at: at, data: in[at].Data, shape: in[at].Shape}
		c.in[i].align(want.Datatype, true)
	}
	var allocated int64
	for i, want := range spec.Outputs {
		if err := c.bindOutput(i, want, out, &allocated); err != nil {
			return err
		}
	}
	return nil
}

// bindOutput finds memory for an output: the caller's, or ours where its size is
// known before, or the runtime's.
func (c *call) bindOutput(i int, want tensor.Spec, out []tensor.Tensor, allocated *int64) error {
	at := slices.IndexFunc(out, func(t tensor.Tensor) bool { return t.Name == want.Name })
	s := &c.out[i]
	s.asked, s.at = at >= 0, at
	if s.asked && out[at].Data != nil {
		if err := engine.CheckTensor("output", out[at], want); err != nil {
			return err
		}
		s.data, s.shape = out[at].Data, out[at].Shape
		s.align(want.Datatype, false)
		return nil
	}
	shape, ok := c.resolve(c.staged.model.Outputs[i])
	if !ok {
		return nil
	}
	n, err := tensor.ByteSize(want.Datatype, shape)
	if err != nil {
		return fmt.Errorf("%w: output %q: %w", engine.ErrBadInput, want.Name, err)
	}
	if *allocated += n; *allocated < 0 || *allocated > c.staged.engine.maxOutput {
		return tooMuchOutput(*allocated, c.staged.engine.maxOutput)
	}
	s.data, s.shape = make([]byte, n), shape
	return nil
}

// unify notes the sizes of named dynamic dimensions, which must agree wherever
// the name occurs.
func (c *call) unify(v onnxfile.Value, shape []int64) error {
	for i, d := range v.Dims {
		if d.Size >= 0 || d.Name == "" {
			continue
		}
		at := slices.IndexFunc(c.sizes, func(s namedSize) bool { return s.name == d.Name })
		if at < 0 {
			c.sizes = append(c.sizes, namedSize{d.Name, shape[i]})
		} else if c.sizes[at].size != shape[i] {
			return fmt.Errorf("%w: input %q has %d for the dimension %q, and another input has %d",
				engine.ErrBadInput, v.Name, shape[i], d.Name, c.sizes[at].size)
		}
	}
	return nil
}

// resolve is an output's shape, where the model declares it in numbers and names
// that its inputs have.
func (c *call) resolve(v onnxfile.Value) ([]int64, bool) {
	shape := make([]int64, len(v.Dims))
	for i, d := range v.Dims {
		if shape[i] = d.Size; d.Size >= 0 {
			continue
		}
		at := slices.IndexFunc(c.sizes, func(s namedSize) bool { return s.name == d.Name })
		if at < 0 {
			return nil, false
		}
		shape[i] = c.sizes[at].size
	}
	return shape, true
}

// align replaces data by a copy where its address is not a multiple of the
// element's size: the runtime's kernels may be compiled on the assumption that it
// is. (A request's tensors can begin anywhere in its body.)
func (s *slot) align(d tensor.Datatype, keepContent bool) {
	if len(s.data) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(s.data)))%uintptr(d.Size()) == 0 {
		return
	}
	copied := make([]uint64, (len(s.data)+7)/8)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(copied))), len(s.data))
	if keepContent {
		copy(bytes, s.data)
	}
	s.data, s.copied = bytes, true
}
