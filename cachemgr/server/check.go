package server

import (
	"fmt"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// checkInputs holds a request's inputs against what the model takes. Their data
// has the length of their shape and their names differ: the decoder saw to that.
func checkInputs(spec engine.Spec, in []tensor.Tensor) error {
	for i := range in {
		at := indexOf(spec.Inputs, in[i].Name)
		if at < 0 {
			return badInput("unknown input %q: the model takes %s", in[i].Name, describe(spec.Inputs))
		}
		want := &spec.Inputs[at]
		if in[i].Datatype != want.Datatype {
			return badInput("input %q is %s: the model takes %s", in[i].Name, in[i].Datatype, want.Datatype)
		}
		if !want.Fits(in[i].Shape) {
			return badInput("input %q has shape %s: the model takes %s", in[i].Name, dims(in[i].Shape), dims(want.Shape))
		}
		if b := batch(spec, in[i].Shape); spec.MaxBatch > 0 && b > int64(spec.MaxBatch) {
			return badInput("input %q has a batch of %d: the model takes at most %d", in[i].Name, b, spec.MaxBatch)
		}
	}
	if len(in) != len(spec.Inputs) {
		return badInput("input %q is missing: the model takes %s", firstMissing(spec.Inputs, in), describe(spec.Inputs))
	}
	return nil
}

// batch is the number of rows in a tensor of this shape, 1 where the model has
// no batch dimension.
func batch(spec engine.Spec, shape []int64) int64 {
	if spec.MaxBatch == 0 || len(shape) == 0 {
		return 1
	}
	return shape[0]
}

// indexOf is the place of a tensor in a list, -1 if it is not there.
func indexOf(specs []tensor.Spec, name string) int {
	for i := range specs {
		if specs[i].Name == name {
			return i
		}
	}
	return -1
}

func firstMissing(specs []tensor.Spec, in []tensor.Tensor) string {
	for i := range specs {
		given := false
		for j := range in {
			given = given || in[j].Name == specs[i].Name
		}
		if !given {
			return specs[i].Name
		}
	}
	return ""
}

func badInput(format string, args ...any) error {
	return fmt.Errorf("%w: %s", engine.ErrBadInput, fmt.Sprintf(format, args...))
}

// describe lists tensors for people: "x FP32 [-1,3,224,224], mask BOOL [1]".
func describe(specs []tensor.Spec) string {
	var b strings.Builder
	for i, s := range specs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s %s", s.Name, s.Datatype, dims(s.Shape))
	}
	return b.String()
}

func dims(shape []int64) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
}
