package cachemgr

import (
	"context"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// compute runs a request and returns the time that the engine took.
//
// Memory that another process may change at any time is given only to an engine
// whose devices copy it (engine.Pinner): they read it once, whatever it is then.
// Kernels on a processor read it where it lies, and more than once. One that has
// checked an index and then reads it again would follow the second value out of
// its memory, and what another kernel reads of an output is such memory, too. So
// these run on copies.
func (m *Manager) compute(ctx context.Context, on engine.Instance, r Request) (time.Duration, error) {
	if !r.Shared || m.readsOnce {
		began := time.Now()
		err := on.Run(ctx, r.In, r.Out)
		return time.Since(began), err
	}
	c := m.copyOf(r)
	defer c.buffer.Release()
	began := time.Now()
	err := on.Run(ctx, c.in, c.out)
	took := time.Since(began)
	if err == nil {
		c.handOver(r.Out)
	}
	return took, err
}

// private is a request's tensors in memory of our own.
type private struct {
	in, out []tensor.Tensor
	buffer  *buffer.Buffer
}

// copyOf copies the inputs of a request, and makes room for those outputs that it
// has room for.
func (m *Manager) copyOf(r Request) *private {
	room := int64(0)
	for _, list := range [][]tensor.Tensor{r.In, r.Out} {
		for i := range list {
			room += buffer.RoundUp(int64(len(list[i].Data)))
		}
	}
	c := &private{buffer: m.copies.Get(int(room))}
	free := c.buffer.Data
	place := func(list []tensor.Tensor) []tensor.Tensor {
		placed := make([]tensor.Tensor, len(list))
		for i, t := range list {
			placed[i] = t
			if n := len(t.Data); t.Data != nil {
				placed[i].Data = free[:n:n]
				free = free[buffer.RoundUp(int64(n)):]
			}
		}
		return placed
	}
	c.in, c.out = place(r.In), place(r.Out)
	for i := range c.in {
		copy(c.in[i].Data, r.In[i].Data)
	}
	return c
}

// handOver gives the results to the caller: in its memory, or as the engine has
// allocated them.
func (c *private) handOver(out []tensor.Tensor) {
	for i := range out {
		if out[i].Data == nil {
			out[i] = c.out[i]
			continue
		}
		copy(out[i].Data, c.out[i].Data)
	}
}
