package server

import (
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// outputs are the results of one call and the memory they are in.
type outputs struct {
	tensors []tensor.Tensor
	buffer  *buffer.Buffer // of those whose size is known before the run
	placed  int64          // bytes of these, and of those in shared memory

	places []oip.Place // in shared memory, by output; nil: none is there
	copies [][]byte    // the memory there of those whose size was not known
}

// release gives the memory back for the next call.
func (o *outputs) release() {
	o.buffer.Release()
	*o = outputs{}
}

// pick finds the outputs that a caller wants, all if it names none: their places
// in the spec, the memory for those of a known shape, in bytes, and as much again
// as of these is in shared memory.
func (s *Server) pick(spec *fileSpec, wanted []oip.Output) (picked []int, room, elsewhere int64, err error) {
	picked = spec.everyOutput
	if len(wanted) > 0 {
		picked = make([]int, len(wanted))
	}
	for at, o := range wanted {
		if picked[at] = indexOf(spec.Outputs, o.Name); picked[at] < 0 {
			return nil, 0, 0, badInput("unknown output %q: the model gives %s", o.Name, describe(spec.Outputs))
		}
	}
	for at, i := range picked {
		n := max(spec.outputBytes[i], 0)
		if n > s.limits.Output || room+elsewhere+n > s.limits.Output {
			return nil, 0, 0, tooMuchOutput(s.limits.Output)
		}
		switch {
		case len(wanted) == 0 || !wanted[at].Place.Shared():
			room += buffer.RoundUp(n)
		case n > wanted[at].Place.Size:
			return nil, 0, 0, tooSmall(wanted[at].Name, n, wanted[at].Place)
		default:
			elsewhere += buffer.RoundUp(n)
		}
	}
	return picked, room, elsewhere, nil
}

// tooSmall is the error of an output that does not fit where it is wanted.
func tooSmall(name string, n int64, p oip.Place) error {
	return badInput("output %q has %d bytes, and shared_memory_byte_size is %d", name, n, p.Size)
}

// newOutputs places the picked outputs of a known shape in b, but for those that
// are wanted in shared memory; the engine allocates those of an unknown shape.
func newOutputs(spec *fileSpec, picked []int, wanted []oip.Output, b *buffer.Buffer) outputs {
	o := outputs{tensors: make([]tensor.Tensor, len(picked)), buffer: b}
	free := b.Data
	for at, i := range picked {
		want := &spec.Outputs[i]
		o.tensors[at] = tensor.Tensor{Name: want.Name, Datatype: want.Datatype}
		n := spec.outputBytes[i]
		if n < 0 {
			continue
		}
		o.tensors[at].Shape = want.Shape
		o.placed += n
		if len(wanted) == 0 || !wanted[at].Place.Shared() {
			o.tensors[at].Data = free[:n:n]
			free = free[buffer.RoundUp(n):]
		}
	}
	return o
}

// share has an output of n bytes written to its place in shared memory, or copied
// there afterwards (settle) where n is -1: not known.
func (o *outputs) share(at int, p oip.Place, memory []byte, n int64) {
	if o.places == nil {
		o.places = make([]oip.Place, len(o.tensors))
		o.copies = make([][]byte, len(o.tensors))
	}
	o.places[at] = p
	if n < 0 {
		o.copies[at] = memory
		return
	}
	o.tensors[at].Data = memory[:n:n] // pick has seen to it that it fits
}

// settle brings the outputs to shared memory that are not there yet, and leaves
// only their places in the response.
func (o *outputs) settle() error {
	for at := range o.places {
		p, t := &o.places[at], &o.tensors[at]
		if !p.Shared() {
			continue
		}
		n := int64(len(t.Data))
		if n > p.Size {
			return tooSmall(t.Name, n, *p)
		}
		if memory := o.copies[at]; memory != nil {
			copy(memory, t.Data)
		}
		p.Size, t.Data = n, nil
	}
	return nil
}

// check holds all outputs against the limit, in bytes.
func (o *outputs) check(limit int64) error {
	if o.placed+o.allocated() > limit {
		return tooMuchOutput(limit)
	}
	return nil
}

// allocated is how many bytes the engine has allocated for outputs.
func (o *outputs) allocated() int64 {
	total := -o.placed
	for i := range o.tensors {
		total += int64(len(o.tensors[i].Data))
	}
	return total
}

func tooMuchOutput(limit int64) error {
	return fmt.Errorf("%w: together they may have %d bytes", errOutputTooLarge, limit)
}
