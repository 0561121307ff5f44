package watchdog

import (
	"context"
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// Handle names one of the function's models.
type Handle struct{ name, version string }

// Model names a model by its folder below models/.
func Model(name string) Handle { return Handle{name: name} }

// Version names one version of the model; without it the highest is used.
func (h Handle) Version(version string) Handle { return Handle{h.name, version} }

// Infer runs the model. ctx is that of the request (r.Context()): its deadline,
// call id and SLO go along, and the request's response tells what the model's
// cache had. Errors are *InferError; Error answers with them.
func (h Handle) Infer(ctx context.Context, inputs ...Tensor) (Outputs, error) {
	c := call.From(ctx)
	switch {
	case c == nil:
		return Outputs{}, newInferError(h.name, errors.New("the context is not that of a request: pass r.Context() of the handler's request"))
	case c.Models == nil:
		return Outputs{}, newInferError(h.name, errors.New("this function has no models: put them at models/NAME/VERSION/model.onnx"))
	}
	if err := checkInputs(inputs); err != nil {
		return Outputs{}, newInferError(h.name, err)
	}
	response, info, err := c.Models.Infer(ctx, api.Call{
		Model: h.name, Version: h.version,
		Device: c.Device, SLO: c.SLO, Fallback: c.Fallback, CallID: c.ID, Traceparent: c.Traceparent,
	}, &oip.Request{Inputs: inputs, BinaryOutputs: true})
	if err != nil {
		return Outputs{}, newInferError(h.name, err)
	}
	c.Record(info)
	return Outputs{response}, nil
}

// checkInputs finds mistakes that would make the message unreadable.
func checkInputs(inputs []Tensor) error {
	for _, t := range inputs {
		if t.Datatype == tensor.Bytes {
			continue // its size is in its data
		}
		want, err := tensor.ByteSize(t.Datatype, t.Shape)
		if err == nil && want != int64(len(t.Data)) {
			err = fmt.Errorf("shape %v of %s needs %d bytes, the data has %d", t.Shape, t.Datatype, want, len(t.Data))
		}
		if err != nil {
			return fmt.Errorf("%w: input %q: %w", ErrBadInput, t.Name, err)
		}
	}
	return nil
}
