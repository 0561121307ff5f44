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
	if err := engine.CheckNames("input", in, i.spec.Inputs); err != nil {
		return err
	}
	if err := engine.CheckNames("output", out, i.spec.Outputs); err != nil {
		return err
	}
	for n, want := range i.spec.Inputs {
		at := index(in, want.Name)
		if at < 0 {
			return fmt.Errorf("%w: input %q is missing; the model takes %s", engine.ErrBadInput, want.Name, engine.Names(i.spec.Inputs))
		}
		if err := engine.CheckTensor("input", in[at], want); err != nil {
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
		if err := engine.CheckTensor("output", t, want); err != nil {
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
