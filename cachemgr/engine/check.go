package engine

import (
	"fmt"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// CheckNames checks that each tensor given is one of the model's, once. what is
// "input" or "output". The error is ErrBadInput.
func CheckNames(what string, given []tensor.Tensor, known []tensor.Spec) error {
	for i, t := range given {
		if !slices.ContainsFunc(known, func(s tensor.Spec) bool { return s.Name == t.Name }) {
			return fmt.Errorf("%w: there is no %s %q; the model has %s", ErrBadInput, what, t.Name, Names(known))
		}
		if slices.ContainsFunc(given[:i], func(o tensor.Tensor) bool { return o.Name == t.Name }) {
			return fmt.Errorf("%w: %s %q is given twice", ErrBadInput, what, t.Name)
		}
	}
	return nil
}

// CheckTensor checks a tensor that comes with data. what is "input" or "output".
// The error is ErrBadInput.
func CheckTensor(what string, t tensor.Tensor, want tensor.Spec) error {
	switch n, err := tensor.ByteSize(want.Datatype, t.Shape); {
	case t.Datatype != want.Datatype:
		return fmt.Errorf("%w: %s %q is %s, and the model has %s", ErrBadInput, what, t.Name, t.Datatype, want.Datatype)
	case !want.Fits(t.Shape):
		return fmt.Errorf("%w: %s %q has the shape %v, and the model has %v", ErrBadInput, what, t.Name, t.Shape, want.Shape)
	case err != nil:
		return fmt.Errorf("%w: %s %q: %w", ErrBadInput, what, t.Name, err)
	case n != int64(len(t.Data)):
		return fmt.Errorf("%w: %s %q has %d bytes; %s of shape %v takes %d", ErrBadInput, what, t.Name, len(t.Data), t.Datatype, t.Shape, n)
	}
	return nil
}

// Names lists tensors for people.
func Names(specs []tensor.Spec) string {
	list := make([]string, len(specs))
	for i, s := range specs {
		list[i] = s.Name
	}
	return fmt.Sprintf("%q", list)
}
