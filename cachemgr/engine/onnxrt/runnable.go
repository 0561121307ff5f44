package onnxrt

import (
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// runnable refuses what the runtime could do and its Go binding cannot. The
// binding has no tensors without dimensions of 16-bit floats, and cannot read
// back those that the runtime has allocated, which it does where a size is not
// known before a run.
func runnable(m *onnxfile.Model) error {
	if len(m.Inputs) == 0 {
		return errors.New("the graph has no inputs")
	}
	named := map[string]bool{}
	for _, v := range m.Inputs {
		if len(v.Dims) == 0 && isHalf(v.Datatype) {
			return fmt.Errorf("input %q is a %s without dimensions, which is not supported; give it the shape [1]", v.Name, v.Datatype)
		}
		for _, d := range v.Dims {
			named[d.Name] = true
		}
	}
	delete(named, "")
	for _, v := range m.Outputs {
		if !isHalf(v.Datatype) {
			continue
		}
		if len(v.Dims) == 0 {
			return fmt.Errorf("output %q is a %s without dimensions, which is not supported; give it the shape [1]", v.Name, v.Datatype)
		}
		for _, d := range v.Dims {
			if d.Size < 0 && !named[d.Name] {
				return fmt.Errorf("output %q is %s of a size that is known only once it is computed, which is not supported; cast it to FP32, or name its dynamic dimensions as the inputs do", v.Name, v.Datatype)
			}
		}
	}
	return nil
}

func isHalf(d tensor.Datatype) bool { return d == tensor.FP16 || d == tensor.BF16 }
