package native

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// instance is a plan that is resident on a device.
type instance struct {
	staged *staged
	device *device
	spec   engine.Spec

	closed bool

	// running is held by the one Run; what follows belongs to it and is kept for
	// the next.
	running sync.Mutex
	in, out []cTensor // in the order of the spec
	at      []int     // where each output is in the caller's slice; -1: not asked for
	slot    uint32    // of the last Run
	pins    runtime.Pinner
	err     cError
}

var _ engine.Instance = (*instance)(nil)

func newInstance(s *staged, d *device, spec engine.Spec) *instance {
	return &instance{
		staged: s,
		device: d,
		spec:   spec,
		in:     make([]cTensor, len(spec.Inputs)),
		out:    make([]cTensor, len(spec.Outputs)),
		at:     make([]int, len(spec.Outputs)),
	}
}

// Run waits for a slot of the device; a cancelled ctx ends that. A run that has
// begun takes its time, which is milliseconds.
func (i *instance) Run(ctx context.Context, in, out []tensor.Tensor) error {
	if err := i.run(ctx, in, out); err != nil {
		return fmt.Errorf("run %s: %w", i.staged.name, err)
	}
	return nil
}

func (i *instance) run(ctx context.Context, in, out []tensor.Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.running.Lock()
	defer i.running.Unlock()
	defer i.release()
	if err := i.bind(in, out); err != nil {
		return err
	}
	made, err := i.makeOutputs(out)
	if err != nil {
		return err
	}
	slot, err := i.device.slots.take(ctx, i.slot)
	if err != nil {
		return err
	}
	i.slot = slot
	err = i.staged.engine.shim.run(i.staged.handle, i.device.index, slot, i.in, i.out, &i.err)
	i.device.slots.give(slot)
	if err != nil {
		return err
	}
	for n, t := range made {
		if t.Data != nil {
			out[i.at[n]] = t
		}
	}
	return nil
}

// makeOutputs allocates what the caller has not, in the order of the spec; where
// the caller has memory, an element stays zero.
func (i *instance) makeOutputs(out []tensor.Tensor) ([]tensor.Tensor, error) {
	missing := false
	for _, at := range i.at {
		missing = missing || at >= 0 && out[at].Data == nil
	}
	if !missing {
		return nil, nil
	}
	shapes := make([]cTensor, len(i.out))
	if err := i.staged.engine.shim.shapes(i.staged.handle, i.device.index, i.in, shapes, &i.err); err != nil {
		return nil, err
	}
	made := make([]tensor.Tensor, len(i.out))
	for n, at := range i.at {
		if at < 0 || out[at].Data != nil {
			continue
		}
		want := i.spec.Outputs[n]
		made[n] = tensor.Tensor{Name: want.Name, Datatype: want.Datatype, Shape: shapeOf(&shapes[n]), Data: make([]byte, shapes[n].bytes)}
		i.pin(&i.out[n], made[n].Shape, made[n].Data)
	}
	return made, nil
}

// release lets go of the caller's memory.
func (i *instance) release() {
	i.pins.Unpin()
	clear(i.in)
	clear(i.out)
}

// Close evicts. After a failure the model cannot run, and Close may be called
// again; on a device that is lost there is nothing left to be closed.
func (i *instance) Close() error {
	if i.closed {
		return nil
	}
	err := i.staged.engine.shim.evict(i.staged.handle, i.device.index)
	if err == nil || errors.Is(err, engine.ErrDeviceLost) {
		i.closed = true
		i.staged.unclaim(i.device)
	}
	if err != nil {
		return fmt.Errorf("evict %s: %w", i.staged.name, err)
	}
	return nil
}
