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
	placed  int64          // bytes of these
}

// release gives the memory back for the next call.
func (o *outputs) release() {
	o.buffer.Release()
	*o = outputs{}
}

// pick finds the outputs that a caller wants, all if it names none: their places
// in the spec, and the memory for those of a known shape, in bytes.
func (s *Server) pick(spec *fileSpec, wanted []oip.Output) (picked []int, room int64, err error) {
	picked = spec.everyOutput
	if len(wanted) > 0 {
		picked = make([]int, len(wanted))
	}
	for at, o := range wanted {
		if picked[at] = indexOf(spec.Outputs, o.Name); picked[at] < 0 {
			return nil, 0, badInput("unknown output %q: the model gives %s", o.Name, describe(spec.Outputs))
		}
	}
	for _, i := range picked {
		n := max(spec.outputBytes[i], 0)
		if n > s.limits.Output || room+n > s.limits.Output {
			return nil, 0, tooMuchOutput(s.limits.Output)
		}
		room += buffer.RoundUp(n)
	}
	return picked, room, nil
}

// newOutputs places the picked outputs of a known shape in b; the engine
// allocates the others.
func newOutputs(spec *fileSpec, picked []int, b *buffer.Buffer) outputs {
	o := outputs{tensors: make([]tensor.Tensor, len(picked)), buffer: b}
	free := b.Data
	for at, i := range picked {
		want := &spec.Outputs[i]
		o.tensors[at] = tensor.Tensor{Name: want.Name, Datatype: want.Datatype}
		if n := spec.outputBytes[i]; n >= 0 {
			o.tensors[at].Shape = want.Shape
			o.tensors[at].Data = free[:n:n]
			free = free[buffer.RoundUp(n):]
			o.placed += n
		}
	}
	return o
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
