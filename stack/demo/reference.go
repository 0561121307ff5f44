package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	ort "github.com/yalue/onnxruntime_go"
)

// answer fills in what every function should answer, with ONNX Runtime alone:
// one session a model with the default options, and nothing of ours between.
func answer(library string, fns []*function) (err error) {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("ONNX Runtime: %w", err)
	}
	defer func() { err = errors.Join(err, ort.DestroyEnvironment()) }()
	for _, f := range fns {
		if err := f.answer(); err != nil {
			return fmt.Errorf("%s in a plain session: %w", f.name, err)
		}
	}
	return nil
}

func (f *function) answer() (err error) {
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(f.file, []string{f.input.Name}, []string{f.output.Name}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Destroy()) }()
	out, err := ort.NewEmptyTensor[float32](ort.NewShape(f.output.Shape...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Destroy()) }()
	for i := range f.cases {
		in, err := ort.NewTensor(ort.NewShape(f.input.Shape...), f.cases[i].input)
		if err != nil {
			return err
		}
		err = session.Run([]ort.Value{in}, []ort.Value{out})
		if err = errors.Join(err, in.Destroy()); err != nil {
			return err
		}
		f.cases[i].want = floatBytes(out.GetData())
	}
	return nil
}

// floatBytes is a tensor's bytes: little-endian.
func floatBytes(values []float32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
