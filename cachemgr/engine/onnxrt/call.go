package onnxrt

import (
	"context"
	"fmt"
	"runtime"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// call is what one Run needs, kept for the next one.
type call struct {
	staged *staged
	pins   runtime.Pinner
	opts   *ort.RunOptions

	in, out []slot // in the order of the model's inputs and outputs
	// The same as the runtime takes them; values[i] is nil where the runtime
	// allocates.
	inValues, outValues []ort.Value
	// sizes of the model's named dynamic dimensions in this call.
	sizes []namedSize
}

// slot is one input or output of a call.
type slot struct {
	asked bool   // by the caller; always true for an input
	at    int    // its place in the caller's slice
	data  []byte // what the runtime reads or writes; nil where it allocates
	shape []int64
	// copied is set where the caller's data is not aligned for its type: data is
	// an aligned copy then.
	copied bool
}

type namedSize struct {
	name string
	size int64
}

func newCall(s *staged) (*call, error) {
	opts, err := ort.NewRunOptions()
	if err != nil {
		return nil, classify(err, engine.ErrUnavailable)
	}
	return &call{
		staged:    s,
		opts:      opts,
		in:        make([]slot, len(s.inputs)),
		out:       make([]slot, len(s.outputs)),
		inValues:  make([]ort.Value, len(s.inputs)),
		outValues: make([]ort.Value, len(s.outputs)),
	}, nil
}

func (c *call) destroy() { c.opts.Destroy() }

// reset releases everything that belonged to the last Run.
func (c *call) reset() {
	c.releaseValues()
	c.pins.Unpin()
	clear(c.in)
	clear(c.out)
	c.sizes = c.sizes[:0]
}

func (c *call) releaseValues() {
	for _, values := range [][]ort.Value{c.inValues, c.outValues} {
		for i, v := range values {
			if v != nil {
				v.Destroy()
				values[i] = nil
			}
		}
	}
}

// compute runs the session on the slots, once.
func (c *call) compute(ctx context.Context, session *ort.DynamicAdvancedSession) error {
	if err := c.makeValues(); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return c.result(ctx, session.RunWithOptions(c.inValues, c.outValues, c.opts))
	}
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.opts.Terminate()
		close(terminated)
	})
	err := session.RunWithOptions(c.inValues, c.outValues, c.opts)
	if !stop() {
		<-terminated // so that it cannot hit the next Run
		c.opts.UnsetTerminate()
	}
	return c.result(ctx, err)
}

// result is what a run's error is to the caller.
func (c *call) result(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = classify(err, engine.ErrBadInput)
	}
	// Where the runtime was to allocate there is no value now, or a nil pointer in
	// an interface.
	for i, s := range c.out {
		if s.data == nil {
			c.outValues[i] = nil
		}
	}
	return err
}

func (c *call) makeValues() (err error) {
	for i, s := range c.in {
		if c.inValues[i], err = c.value(c.staged.spec.Inputs[i].Datatype, s); err != nil {
			return err
		}
	}
	for i, s := range c.out {
		if s.data == nil {
			continue
		}
		if c.outValues[i], err = c.value(c.staged.spec.Outputs[i].Datatype, s); err != nil {
			return err
		}
	}
	return nil
}

// value is the runtime's view of a slot's memory. The runtime keeps the address
// until the value is released, so the memory is pinned until then.
func (c *call) value(d tensor.Datatype, s slot) (ort.Value, error) {
	if len(s.shape) == 0 {
		return newScalar(d, s.data)
	}
	data := s.data
	if len(data) == 0 {
		data = noElements[:]
	}
	c.pins.Pin(unsafe.SliceData(data))
	v, err := ort.NewCustomDataTensor(s.shape, data, elementTypes[d])
	if err != nil {
		return nil, classify(err, engine.ErrBadInput)
	}
	return v, nil
}

// noElements stands in for the address of a tensor without elements.
var noElements [8]byte

// elementTypes are the runtime's names of datatypes.
var elementTypes = map[tensor.Datatype]ort.TensorElementDataType{
	tensor.Bool:   ort.TensorElementDataTypeBool,
	tensor.Uint8:  ort.TensorElementDataTypeUint8,
	tensor.Uint16: ort.TensorElementDataTypeUint16,
	tensor.Uint32: ort.TensorElementDataTypeUint32,
	tensor.Uint64: ort.TensorElementDataTypeUint64,
	tensor.Int8:   ort.TensorElementDataTypeInt8,
	tensor.Int16:  ort.TensorElementDataTypeInt16,
	tensor.Int32:  ort.TensorElementDataTypeInt32,
	tensor.Int64:  ort.TensorElementDataTypeInt64,
	tensor.FP16:   ort.TensorElementDataTypeFloat16,
	tensor.FP32:   ort.TensorElementDataTypeFloat,
	tensor.FP64:   ort.TensorElementDataTypeDouble,
	tensor.BF16:   ort.TensorElementDataTypeBFloat16,
}

// finish hands over what is not in the caller's buffers yet.
func (c *call) finish(out []tensor.Tensor) error {
	var total int64
	for i := range c.out {
		s := &c.out[i]
		if s.asked && s.data == nil {
			s.data, s.shape = contents(c.outValues[i])
		}
		if s.asked && out[s.at].Data == nil {
			total += int64(len(s.data))
		}
	}
	if total > c.staged.engine.maxOutput {
		return tooMuchOutput(total, c.staged.engine.maxOutput)
	}
	for i, s := range c.out {
		if !s.asked {
			continue
		}
		if len(s.shape) == 0 {
			readScalar(c.outValues[i], s.data)
		}
		t := &out[s.at]
		switch {
		case t.Data == nil:
			t.Data, t.Shape, t.Datatype = s.data, s.shape, c.staged.spec.Outputs[i].Datatype
		case s.copied:
			copy(t.Data, s.data)
		}
	}
	return nil
}

func tooMuchOutput(n, most int64) error {
	return fmt.Errorf("%w: the outputs take %d bytes; at most %d are allowed", engine.ErrNoMemory, n, most)
}
