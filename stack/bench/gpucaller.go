package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// ioSpec is the one input and the one output that a model is run with.
type ioSpec struct {
	input, output         tensor.Spec // of one row
	inputSize, outputSize int64
}

func newIOSpec(s engine.Spec) (ioSpec, error) {
	if len(s.Inputs) != 1 {
		return ioSpec{}, fmt.Errorf("a plan with %d inputs; it is measured with those that have one", len(s.Inputs))
	}
	io := ioSpec{input: s.Inputs[0], output: s.Outputs[0]}
	io.input.Shape, io.output.Shape = oneRow(io.input.Shape), oneRow(io.output.Shape)
	var errs [2]error
	io.inputSize, errs[0] = tensor.ByteSize(io.input.Datatype, io.input.Shape)
	io.outputSize, errs[1] = tensor.ByteSize(io.output.Datatype, io.output.Shape)
	return io, errors.Join(errs[:]...)
}

// gpuCaller makes requests of one function, one at a time. Its tensors are in
// memory that it shares with the cache manager, or travel with the request.
type gpuCaller struct {
	function *gpuFunction
	memory   []byte
	inputs   int64 // bytes of memory for the input; the output follows
	region   string
	close    func() error
}

// newCaller makes a caller for tensors of at most these bytes.
func newCaller(ctx context.Context, n *gpuNode, f *gpuFunction, io ioSpec, shared bool) (*gpuCaller, error) {
	const align = 4096
	c := &gpuCaller{function: f, inputs: (io.inputSize + align - 1) / align * align, close: func() error { return nil }}
	size := c.inputs + io.outputSize
	if !shared {
		c.memory = make([]byte, size)
		fillPattern(c.memory[:io.inputSize])
		return c, nil
	}
	memory, err := shm.New(size)
	if err != nil {
		return nil, err
	}
	conn, err := shm.Dial(ctx, filepath.Join(n.dir, api.SocketShm), f.token)
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	c.memory = memory.Data
	fillPattern(c.memory[:io.inputSize])
	c.close = func() error { return errors.Join(conn.Close(), memory.Close()) }
	if c.region, err = conn.Register(memory); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// output is where the answer comes to.
func (c *gpuCaller) output(io ioSpec) []byte { return c.memory[c.inputs:][:io.outputSize] }

func (c *gpuCaller) request(io ioSpec) *oip.Request {
	r := &oip.Request{
		Inputs:        []tensor.Tensor{{Name: io.input.Name, Datatype: io.input.Datatype, Shape: io.input.Shape}},
		BinaryOutputs: true,
	}
	if c.region != "" {
		r.Places = []oip.Place{{Region: c.region, Size: io.inputSize}}
		r.Outputs = []oip.Output{{Name: io.output.Name, Place: oip.Place{Region: c.region, Offset: c.inputs, Size: io.outputSize}}}
	} else {
		r.Inputs[0].Data = c.memory[:io.inputSize]
		r.Outputs = []oip.Output{{Name: io.output.Name, Binary: true, Into: c.output(io)}}
	}
	return r
}

// infer runs a model once. The output is good until the caller's next request.
func (c *gpuCaller) infer(ctx context.Context, model string, io ioSpec) ([]byte, api.Info, error) {
	clear(c.output(io)) // what is in it afterwards came with this answer
	response, info, err := c.function.client.Infer(ctx, api.Call{Model: model}, c.request(io))
	if err != nil {
		return nil, info, err
	}
	response.Release()
	return c.output(io), info, nil
}

// reference is the output of a model while it is resident: the answer to a request
// that was a hit.
func (c *gpuCaller) reference(ctx context.Context, model string, io ioSpec) ([]byte, error) {
	const tries = 20 // others may have it evicted
	for range tries {
		out, info, err := c.infer(ctx, model, io)
		if err != nil {
			return nil, err
		}
		if info.Cache == api.CacheHit {
			return bytes.Clone(out), nil
		}
	}
	return nil, fmt.Errorf("%s was never resident in %d requests one after the other", model, tries)
}
