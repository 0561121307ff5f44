package cachemgr

import (
	"fmt"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// This file puts the tensors of a batch's members together, row after row, and
// takes its outputs apart.

// gather copies the inputs of all members, and makes room for the outputs that
// they have room for.
func (b *batch) gather(pool *buffer.Pool) {
	defer close(b.gathered)
	first := b.members[0].ask
	b.in, b.out = slices.Clone(first.In), slices.Clone(first.Out)
	room := int64(0)
	for _, list := range [][]tensor.Tensor{b.in, b.out} {
		for _, t := range list {
			room += buffer.RoundUp(b.size(t))
		}
	}
	b.buffer = pool.Get(int(room))
	free := b.buffer.Data
	for _, list := range [][]tensor.Tensor{b.in, b.out} {
		for i, t := range list {
			if t.Data == nil {
				continue
			}
			n := b.size(t)
			list[i].Shape = slices.Clone(t.Shape)
			list[i].Shape[0] = b.rows
			list[i].Data, free = free[:n:n], free[buffer.RoundUp(n):]
		}
	}
	for i := range b.in {
		to := b.in[i].Data
		for _, member := range b.members {
			to = to[copy(to, member.ask.In[i].Data):]
		}
	}
}

// size is how many bytes all rows of one of the first member's tensors take.
func (b *batch) size(t tensor.Tensor) int64 {
	return int64(len(t.Data)) / b.members[0].rows * b.rows
}

// checkOutputs checks that the outputs can be taken apart.
func (b *batch) checkOutputs() error {
	for _, t := range b.out {
		if len(t.Shape) == 0 || t.Shape[0] != b.rows || int64(len(t.Data))%b.rows != 0 {
			return fmt.Errorf("output %q of a batch of %d has the shape %v", t.Name, b.rows, t.Shape)
		}
	}
	return nil
}

// take copies the outputs of a member to where its sender wants them.
func (b *batch) take(member *ticket, outputs []tensor.Tensor) {
	defer b.drop()
	at := int64(0)
	for _, t := range b.members {
		if t == member {
			break
		}
		at += t.rows
	}
	for i, all := range b.out {
		row := int64(len(all.Data)) / b.rows
		mine := all.Data[at*row : (at+member.rows)*row]
		out := &outputs[i]
		if out.Data == nil {
			out.Datatype = all.Datatype
			out.Shape = slices.Clone(all.Shape)
			out.Shape[0] = member.rows
			out.Data = make([]byte, len(mine))
		}
		copy(out.Data, mine)
	}
}

// drop says that one member less needs the outputs.
func (b *batch) drop() {
	if b.takers.Add(-1) == 0 {
		b.buffer.Release()
	}
}
