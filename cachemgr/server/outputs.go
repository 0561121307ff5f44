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
}

// release gives the memory back for the next call.
func (o *outputs) release() {
	o.buffer.Release()
	*o = outputs{}
}

// prepare finds the outputs that a caller wants, all if it names none, and gives
// those of a known shape memory; the engine allocates the others.
func (s *Server) prepare(spec *fileSpec, wanted []oip.Output) (outputs, error) {
	picked, err := pick(spec, wanted)
	if err != nil {
		return outputs{}, err
	}
	room := int64(0)
	for _, i := range picked {
		n := max(spec.outputBytes[i], 0)
		if n > s.limits.Output || room+n > s.limits.Output {
			return outputs{}, tooMuchOutput(s.limits.Output)
		}
		room += buffer.RoundUp(n)
	}
	o := outputs{tensors: make([]tensor.Tensor, len(picked)), buffer: s.codec.Buffers.Get(int(room))}
	free := o.buffer.Data
	for at, i := range picked {
		want := &spec.Outputs[i]
		o.tensors[at] = tensor.Tensor{Name: want.Name, Datatype: want.Datatype}
		if n := spec.outputBytes[i]; n >= 0 {
			o.tensors[at].Shape = want.Shape
			o.tensors[at].Data = free[:n:n]
			free = free[buffer.RoundUp(n):]
		}
	}
	return o, nil
}

// pick lists the places of the wanted outputs in the spec.
func pick(spec *fileSpec, wanted []oip.Output) ([]int, error) {
	if len(wanted) == 0 {
		return spec.everyOutput, nil
	}
	picked := make([]int, len(wanted))
	for at, o := range wanted {
		i := indexOf(spec.Outputs, o.Name)
		if i < 0 {
			return nil, badInput("unknown output %q: the model gives %s", o.Name, describe(spec.Outputs))
		}
		picked[at] = i
	}
	return picked, nil
}

// check holds outputs that the engine allocated against the limit, in bytes.
func (o *outputs) check(limit int64) error {
	total := int64(0)
	for i := range o.tensors {
		total += int64(len(o.tensors[i].Data))
	}
	if total > limit {
		return tooMuchOutput(limit)
	}
	return nil
}

func tooMuchOutput(limit int64) error {
	return fmt.Errorf("%w: together they may have %d bytes", errOutputTooLarge, limit)
}
