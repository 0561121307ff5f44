package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// gpuChangeover offers an ONNX file that has no plan yet, and asks for it all the
// time: first the CPU answers, then a plan is built, then the GPU answers.
func gpuChangeover(ctx context.Context, o gpuOptions) (_ any, err error) {
	n, err := startNode(ctx, o, 0, "cpu_fallback=true", "engine_builder="+o.builder, "threads=2", "builder_idle=1ms", "builder_patience=1s")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	models, err := n.offerFormat(ctx, []string{o.onnx}, "onnx")
	if err != nil {
		return nil, err
	}
	c := &changeover{gpuOptions: o, node: n, model: models[0], answers: map[string]int{}, outputs: map[string][]byte{}}
	if c.io, err = c.describe(ctx); err != nil {
		return nil, err
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	figures := o.figures()
	figures["answers"], figures["failed"], figures["failure"], figures["wrong_outputs"] = c.answers, c.failed, c.failure, c.wrong
	figures["first_gpu_answer_s"] = to1(c.firstGPU.Seconds())
	figures["largest_difference"] = c.difference()
	return figures, nil
}

type changeover struct {
	gpuOptions
	node  *gpuNode
	model *gpuModel
	io    ioSpec

	mu       sync.Mutex
	answers  map[string]int    // by engine
	outputs  map[string][]byte // the first of each engine
	failed   int
	failure  string // the first
	wrong    int
	firstGPU time.Duration
}

func (c *changeover) describe(ctx context.Context) (ioSpec, error) {
	m, err := c.model.function.client.ModelMetadata(ctx, c.model.name, "")
	if err != nil {
		return ioSpec{}, err
	}
	return newIOSpec(engine.Spec{Inputs: specsOf(m.Inputs), Outputs: specsOf(m.Outputs)})
}

func specsOf(list []oip.TensorMetadata) []tensor.Spec {
	specs := make([]tensor.Spec, len(list))
	for i, t := range list {
		specs[i] = tensor.Spec{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
	}
	return specs
}

// run has the clients ask until the GPU has answered as often as is asked for.
func (c *changeover) run(ctx context.Context) error {
	const patience = 6 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fmt.Printf("%d clients, until the GPU has answered %d times\n", c.clients, c.requests)
	began := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for range c.clients {
		work.Go(func() error {
			caller, err := newCaller(ctx, c.node, c.model.function, c.io, c.shared)
			if err != nil {
				return err
			}
			defer caller.close()
			for !c.done() {
				out, info, err := caller.infer(ctx, c.model.name, c.io)
				if ctx.Err() != nil {
					return fmt.Errorf("the GPU has not answered %d times in %v; answers so far: %v", c.requests, patience, c.answers)
				}
				c.count(out, info, err, time.Since(began))
			}
			return nil
		})
	}
	return work.Wait()
}

func (c *changeover) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[gpuEngine] >= c.requests
}

// gpuEngine is what answers call the engine on the GPU.
const gpuEngine = "tensorrt"

func (c *changeover) count(out []byte, info api.Info, err error, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed++
		if c.failure == "" {
			c.failure = fmt.Sprintf("%.200s", err)
		}
		return
	}
	if c.answers[info.Engine]++; c.answers[info.Engine] == 1 {
		c.outputs[info.Engine] = bytes.Clone(out)
		if info.Engine == gpuEngine {
			c.firstGPU = at
		}
	} else if !bytes.Equal(out, c.outputs[info.Engine]) {
		c.wrong++
	}
}

// difference of the engines' outputs, FP32, the largest of all elements. They are
// equal on the driver double; half precision rounds.
func (c *changeover) difference() float64 {
	most := 0.0
	for _, out := range c.outputs {
		for i := 0; i+4 <= len(out); i += 4 {
			a := math.Float32frombits(binary.LittleEndian.Uint32(out[i:]))
			b := math.Float32frombits(binary.LittleEndian.Uint32(c.outputs[gpuEngine][i:]))
			most = max(most, math.Abs(float64(a-b)))
		}
	}
	return most
}
