package native

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// bind checks the caller's tensors and describes them for the shim. It writes to
// none of them.
func (i *instance) bind(in, out []tensor.Tensor) error {
	if err := everyName("input", in, i.spec.Inputs); err != nil {
		return err
	}
	if err := everyName("output", out, i.spec.Outputs); err != nil {
		return err
	}
	for n, want := range i.spec.Inputs {
		at := index(in, want.Name)
		if at < 0 {
			return fmt.Errorf("%w: input %q is missing; the model takes %s", engine.ErrBadInput, want.Name, names(i.spec.Inputs))
		}
		if err := fits("input", in[at], want); err != nil {
			return err
		}
		i.pin(&i.in[n], in[at].Shape, in[at].Data)
	}
	for n, want := range i.spec.Outputs {
		i.at[n] = index(out, want.Name)
		if i.at[n] < 0 || out[i.at[n]].Data == nil {
			continue
		}
		t := out[i.at[n]]
		if err := fits("output", t, want); err != nil {
			return err
		}
		i.pin(&i.out[n], t.Shape, t.Data)
	}
	return nil
}

// pin describes memory, which stays where it is until release.
func (i *instance) pin(c *cTensor, shape []int64, data []byte) {
	if len(data) > 0 {
		i.pins.Pin(unsafe.SliceData(data))
	}
	describe(c, shape, data)
}

func index(ts []tensor.Tensor, name string) int {
	return slices.IndexFunc(ts, func(t tensor.Tensor) bool { return t.Name == name })
}

// everyName checks that each tensor given is one of the model's, once.
func everyName(what string, given []tensor.Tensor, known []tensor.Spec) error {
	for i, t := range given {
		if !slices.ContainsFunc(known, func(s tensor.Spec) bool { return s.Name == t.Name }) {
			return fmt.Errorf("%w: there is no %s %q; the model has %s", engine.ErrBadInput, what, t.Name, names(known))
		}
		if index(given[:i], t.Name) >= 0 {
			return fmt.Errorf("%w: %s %q is given twice", engine.ErrBadInput, what, t.Name)
		}
	}
	return nil
}

func names(specs []tensor.Spec) string {
	list := make([]string, len(specs))
	for i, s := range specs {
		list[i] = s.Name
	}
	return fmt.Sprintf("%q", list)
}

// fits checks a tensor that comes with data. The spec's rank is at most what the
// shim takes.
func fits(what string, t tensor.Tensor, want tensor.Spec) error {
	switch n, err := tensor.ByteSize(want.Datatype, t.Shape); {
	case t.Datatype != want.Datatype:
		return fmt.Errorf("%w: %s %q is %s, and the model has %s", engine.ErrBadInput, what, t.Name, t.Datatype, want.Datatype)
	case !want.Fits(t.Shape):
		return fmt.Errorf("%w: %s %q has the shape %v, and the model has %v", engine.ErrBadInput, what, t.Name, t.Shape, want.Shape)
	case err != nil:
		return fmt.Errorf("%w: %s %q: %w", engine.ErrBadInput, what, t.Name, err)
	case n != int64(len(t.Data)):
		return fmt.Errorf("%w: %s %q has %d bytes; %s of shape %v takes %d", engine.ErrBadInput, what, t.Name, len(t.Data), t.Datatype, t.Shape, n)
	}
	return nil
}
