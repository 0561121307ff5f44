package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// subject is a model with one input for it.
type subject struct {
	name          string
	model         []byte
	input, output string
	shape         []int64
	outShape      []int64
	data          []byte // FP32
}

// subjects are the digits model with a scan, and a Relu over a picture, 602,112
// bytes in and out, which computes next to nothing.
func subjects() (small, large *subject, err error) {
	scans, err := digits.HeldOut()
	if err != nil {
		return nil, nil, err
	}
	small = &subject{
		name: "digits", model: digits.Model, input: "pixels", output: "probabilities",
		shape: []int64{1, 1, digits.Side, digits.Side}, outShape: []int64{1, 10},
		data: floats(scans[0].Input()),
	}
	var relu bytes.Buffer
	if err := modelgen.Write(&relu, modelgen.Spec{Family: modelgen.Relu}); err != nil {
		return nil, nil, err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	picture := make([]float32, 3*224*224)
	for i := range picture {
		picture[i] = rng.Float32() - 0.5
	}
	large = &subject{
		name: "relu", model: relu.Bytes(), input: "input", output: "output",
		shape: []int64{1, 3, 224, 224}, outShape: []int64{1, 3, 224, 224},
		data: floats(picture),
	}
	return small, large, nil
}

func floats(values []float32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// dims is a shape as a list of numbers.
func dims(shape []int64) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ",")
}

// message is the request to infer, with the input and the output as binary data,
// and the length of its JSON part.
func (s *subject) message() (body []byte, header int) {
	json := fmt.Sprintf(`{"inputs":[{"name":%q,"shape":[%s],"datatype":"FP32","parameters":{"binary_data_size":%d}}],`+
		`"outputs":[{"name":%q,"parameters":{"binary_data":true}}]}`, s.input, dims(s.shape), len(s.data), s.output)
	return append([]byte(json), s.data...), len(json)
}
