package onnxrt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile/onnxtest"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// What the engine's options change must not change an answer: it is compared with
// a session of the runtime that has none.
func TestAnswersAreThoseOfAPlainSession(t *testing.T) {
	engines := []*Engine{ownEngine(t, Options{Threads: 1}), ownEngine(t, Options{Threads: 2})}
	for _, s := range []modelgen.Spec{
		{Family: modelgen.SqueezeNet, Resolution: 96},
		{Family: modelgen.MobileNetV2, Width: 0.5, Resolution: 96},
		{Family: modelgen.ResNet18, Width: 0.5, Resolution: 96},
		{Family: modelgen.ResNet50, Width: 0.25, Resolution: 96},
		{Family: modelgen.VGG16, Width: 0.25, Resolution: 96},
	} {
		m := write(t, s)
		image := randomImage(96)
		want := plainAnswer(t, m.Path, image)
		for _, e := range engines {
			got := answer(t, resident(t, e, m), image)
			if got != want {
				t.Errorf("%s on %s answers something else", s.Family, e.deviceName())
			}
			var most float64
			for b := []byte(got); len(b) > 0; b = b[4:] {
				most = max(most, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
			if math.IsNaN(most) || most == 0 || most > 0.99 {
				t.Errorf("%s: the largest probability is %g: the model is degenerate", s.Family, most)
			}
		}
	}
}

// plainAnswer runs a session without options.
func plainAnswer(t *testing.T, path string, image tensor.Tensor) string {
	t.Helper()
	s, err := ort.NewDynamicAdvancedSession(path, []string{"input"}, []string{"output"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Destroy()
	in, err := ort.NewCustomDataTensor(image.Shape, image.Data, ort.TensorElementDataTypeFloat)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Destroy()
	outs := []ort.Value{nil}
	if err := s.Run([]ort.Value{in}, outs); err != nil {
		t.Fatal(err)
	}
	defer outs[0].Destroy()
	out := outs[0].(*ort.Tensor[float32])
	return string(numbers("output", tensor.FP32, nil, out.GetData()).Data)
}

const (
	elemFloat, elemInt64, elemBool, elemFP16, elemDouble = 1, 7, 9, 10, 11
)

// numbers encodes a tensor.
func numbers(name string, d tensor.Datatype, shape []int64, vs any) tensor.Tensor {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, vs); err != nil {
		panic(err) // the test gives fixed-size numbers
	}
	return tensor.Tensor{Name: name, Datatype: d, Shape: shape, Data: b.Bytes()}
}

func TestKindsOfTensors(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1})
	info := onnxtest.Info
	for _, c := range []struct {
		name  string
		graph [][]byte
		in    []tensor.Tensor
		want  tensor.Tensor // y
	}{
		{
			"scalars",
			[][]byte{info(onnxtest.Input, "x", elemFloat), info(onnxtest.Output, "y", elemFloat), onnxtest.Op("Neg", "x", "y")},
			[]tensor.Tensor{numbers("x", tensor.FP32, []int64{}, float32(2.5))},
			numbers("y", tensor.FP32, []int64{}, float32(-2.5)),
		},
		{
			"double and a cast to bool",
			[][]byte{info(onnxtest.Input, "x", elemDouble, 3), info(onnxtest.Output, "y", elemBool, 3), onnxtest.Op("Cast", "x", "y", onnxtest.Int("to", elemBool))},
			[]tensor.Tensor{numbers("x", tensor.FP64, []int64{3}, []float64{0, 1, -2})},
			numbers("y", tensor.Bool, []int64{3}, []bool{false, true, true}),
		},
		{
			"half precision",
			[][]byte{info(onnxtest.Input, "x", elemFloat, "n"), info(onnxtest.Output, "y", elemFP16, "n"), onnxtest.Op("Cast", "x", "y", onnxtest.Int("to", elemFP16))},
			[]tensor.Tensor{numbers("x", tensor.FP32, []int64{3}, []float32{1, 0.5, -2})},
			numbers("y", tensor.FP16, []int64{3}, []uint16{0x3c00, 0x3800, 0xc000}),
		},
		{
			"half precision of a size that only the run tells",
			[][]byte{info(onnxtest.Input, "x", elemFP16, "n"), info(onnxtest.Output, "y", elemFP16, "m"), onnxtest.Op("Neg", "x", "y")},
			[]tensor.Tensor{numbers("x", tensor.FP16, []int64{3}, []uint16{0x3c00, 0xb800, 0x4000})},
			numbers("y", tensor.FP16, []int64{3}, []uint16{0xbc00, 0x3800, 0xc000}),
		},
		{
			"integers of a shape that the input's values tell",
			[][]byte{info(onnxtest.Input, "x", elemFloat, 2, 2), info(onnxtest.Output, "y", elemInt64, 2, "found"), onnxtest.Op("NonZero", "x", "y")},
			[]tensor.Tensor{numbers("x", tensor.FP32, []int64{2, 2}, []float32{0, 1, 1, 0})},
			numbers("y", tensor.Int64, []int64{2, 2}, []int64{0, 1, 1, 0}),
		},
		{
			"nothing found",
			[][]byte{info(onnxtest.Input, "x", elemFloat, 2), info(onnxtest.Output, "y", elemInt64, 1, "found"), onnxtest.Op("NonZero", "x", "y")},
			[]tensor.Tensor{numbers("x", tensor.FP32, []int64{2}, []float32{0, 0})},
			tensor.Tensor{Name: "y", Datatype: tensor.Int64, Shape: []int64{1, 0}, Data: []byte{}},
		},
		{
			"a batch of none",
			[][]byte{info(onnxtest.Input, "x", elemFloat, "n", 3), info(onnxtest.Output, "y", elemFloat, "n", 3), onnxtest.Op("Neg", "x", "y")},
			[]tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{0, 3}}},
			tensor.Tensor{Name: "y", Datatype: tensor.FP32, Shape: []int64{0, 3}, Data: []byte{}},
		},
		{
			"two inputs in another order, and an output that nobody asks for",
			[][]byte{
				info(onnxtest.Input, "a", elemFloat, "n"), info(onnxtest.Input, "b", elemFloat, "n"),
				info(onnxtest.Output, "z", elemFloat, "n"), info(onnxtest.Output, "y", elemFloat, "n"), info(onnxtest.Output, "w", elemInt64, 1, "found"),
				onnxtest.Op("Add", "a b", "z"), onnxtest.Op("Sub", "a b", "y"), onnxtest.Op("NonZero", "a", "w"),
			},
			[]tensor.Tensor{
				numbers("b", tensor.FP32, []int64{2}, []float32{1, 2}),
				numbers("a", tensor.FP32, []int64{2}, []float32{10, 20}),
			},
			numbers("y", tensor.FP32, []int64{2}, []float32{9, 18}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := resident(t, e, save(t, "kind", onnxtest.Model(c.graph...)))
			ready := c.want
			ready.Data = make([]byte, len(c.want.Data))
			for what, y := range map[string]tensor.Tensor{"allocated": {Name: "y"}, "given": ready} {
				got := []tensor.Tensor{y}
				if err := i.Run(t.Context(), c.in, got); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if fmt.Sprint(got[0]) != fmt.Sprint(c.want) {
					t.Errorf("%s: got %v, want %v", what, got[0], c.want)
				}
			}
		})
	}
}

func TestBadRuns(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1, MaxOutputBytes: 1000})
	pair := resident(t, e, save(t, "pair", onnxtest.Model(
		onnxtest.Info(onnxtest.Input, "a", elemFloat, "n"), onnxtest.Info(onnxtest.Input, "b", elemFloat, "n"),
		onnxtest.Info(onnxtest.Output, "y", elemFloat, "n"), onnxtest.Info(onnxtest.Output, "found", elemInt64, 1, "m"),
		onnxtest.Op("Add", "a b", "y"), onnxtest.Op("NonZero", "a", "found"))))
	floats := func(name string, n int) tensor.Tensor {
		return numbers(name, tensor.FP32, []int64{int64(n)}, slices.Repeat([]float32{1}, n))
	}
	for _, c := range []struct {
		name string
		in   []tensor.Tensor
		out  tensor.Tensor
		want error
		says string
	}{
		{"names that disagree", []tensor.Tensor{floats("a", 2), floats("b", 3)}, tensor.Tensor{Name: "y"}, engine.ErrBadInput, `3 for the dimension "n"`},
		{"an output of the wrong size", []tensor.Tensor{floats("a", 2), floats("b", 2)}, floats("y", 3), engine.ErrBadInput, "shape"},
		{"more output than allowed", []tensor.Tensor{floats("a", 300), floats("b", 300)}, tensor.Tensor{Name: "y"}, engine.ErrNoMemory, "1200 bytes; at most 1000"},
		{"more output than allowed, found out late", []tensor.Tensor{floats("a", 200), floats("b", 200)}, tensor.Tensor{Name: "found"}, engine.ErrNoMemory, "1600 bytes; at most 1000"},
		{"a missing input", []tensor.Tensor{floats("a", 2)}, tensor.Tensor{Name: "y"}, engine.ErrBadInput, `input "b" is missing; the model takes ["a" "b"]`},
	} {
		out := []tensor.Tensor{c.out}
		err := pair.Run(t.Context(), c.in, out)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v, want %v that says %q", c.name, err, c.want, c.says)
		}
	}
}

func TestRefusedModels(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1})
	for says, graph := range map[string][][]byte{
		"no inputs":           {onnxtest.Info(onnxtest.Output, "y", elemInt64, 1), onnxtest.Int64s("y", 1)},
		"without dimensions":  {onnxtest.Info(onnxtest.Input, "x", elemFP16), onnxtest.Info(onnxtest.Output, "y", elemFP16), onnxtest.Op("Neg", "x", "y")},
		"in another file":     {onnxtest.Info(onnxtest.Input, "x", 1), onnxtest.Info(onnxtest.Output, "y", 1), onnxtest.Message(5, onnxtest.Number(14, 1))},
		"tensor of strings":   {onnxtest.Info(onnxtest.Input, "x", 8, 1), onnxtest.Info(onnxtest.Output, "y", 8, 1), onnxtest.Op("Identity", "x", "y")},
		"not declare its sha": {onnxtest.Info(onnxtest.Input, "x", 1), onnxtest.Message(12, onnxtest.Text(1, "y"), onnxtest.Message(2, onnxtest.Message(1, onnxtest.Number(1, 1)))), onnxtest.Op("Mystery", "x", "y")},
	} {
		st, err := e.Open(t.Context(), save(t, "refused", onnxtest.Model(graph...)))
		if !errors.Is(err, engine.ErrBadModel) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("got %v, %v, want %v that says %q", st, err, engine.ErrBadModel, says)
		}
	}
}
