package onnxrt

import (
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// runnable refuses what the runtime could do and its Go binding cannot: it has no
// tensors of 16-bit floats without dimensions.
func runnable(m *onnxfile.Model) error {
	if len(m.Inputs) == 0 {
		return errors.New("the graph has no inputs")
	}
	for _, list := range []struct {
		what   string
		values []onnxfile.Value
	}{{"input", m.Inputs}, {"output", m.Outputs}} {
		for _, v := range list.values {
			if len(v.Dims) == 0 && (v.Datatype == tensor.FP16 || v.Datatype == tensor.BF16) {
				return fmt.Errorf("%s %q is a %s without dimensions, which is not supported; give it the shape [1]", list.what, v.Name, v.Datatype)
			}
		}
	}
	return nil
}
