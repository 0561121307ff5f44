package onnxrt

import (
	"context"
	"fmt"
	"runtime"
	"slices"
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
	made                []unsafe.Pointer // by output: what the runtime has allocated
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
	for _, value := range c.made {
		if value != nil {
			releaseMade(value)
		}
	}
	c.made = nil
}

// compute runs the session on the slots, once.
func (c *call) compute(ctx context.Context, session *session) error {
	if err := c.makeValues(); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return c.result(ctx, c.runSession(session))
	}
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.opts.Terminate()
		close(terminated)
	})
	err := c.runSession(session)
	if !stop() {
		<-terminated // so that it cannot hit the next Run
		c.opts.UnsetTerminate()
	}
	return c.result(ctx, err)
}

// runSession runs the session.
func (c *call) runSession(session *session) (err error) {
	if slices.Contains(c.outValues, nil) {
		c.made, err = session.runAllocating(c.inValues, c.outValues, c.opts)
		return err
	}
	return session.RunWithOptions(c.inValues, c.outValues, c.opts)
}

// result is what a run's error is to the caller.
func (c *call) result(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return classify(err, engine.ErrBadInput)
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
	if err := c.readMade(out); err != nil {
		return err
	}
	for i, s := range c.out {
		if !s.asked {
			continue
		}
		if len(s.shape) == 0 && c.outValues[i] != nil {
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

// readMade copies the outputs that the runtime has allocated, unless all that the
// caller did not give buffers for are too large together.
func (c *call) readMade(out []tensor.Tensor) error {
	if c.made == nil {
		return nil // bind has added up the others
	}
	found := make([]made, len(c.out))
	total, most := int64(0), c.staged.engine.maxOutput
	for i := range c.out {
		s, want := &c.out[i], &c.staged.spec.Outputs[i]
		if !s.asked || out[s.at].Data != nil {
			continue
		}
		if s.data != nil {
			total += int64(len(s.data))
			continue
		}
		var err error
		if found[i], err = readMade(c.made[i]); err != nil {
			return classify(err, engine.ErrBadInput)
		}
		if found[i].datatype != elementTypes[want.Datatype] {
			return fmt.Errorf("%w: output %q is not %s, as the model declares", engine.ErrBadModel, want.Name, want.Datatype)
		}
		if total += found[i].elements * int64(want.Datatype.Size()); total > most {
			return tooMuchOutput(total, most)
		}
	}
	for i := range c.out {
		if s := &c.out[i]; s.asked && s.data == nil {
			s.data, s.shape = found[i].bytes(c.staged.spec.Outputs[i].Datatype.Size()), found[i].shape
		}
	}
	return nil
}

func tooMuchOutput(n, most int64) error {
	return fmt.Errorf("%w: the outputs take %d bytes; at most %d are allowed", engine.ErrNoMemory, n, most)
}
