package main

import (
	"encoding/binary"
	"fmt"
	"math"

	ort "github.com/yalue/onnxruntime_go"
)

// direct is a plain ONNX Runtime session of default options with one thread, in
// this process.
type direct struct {
	session *ort.AdvancedSession
	in, out *ort.Tensor[float32]
}

func newDirect(library string, s *subject) (*direct, error) {
	ort.SetSharedLibraryPath(library)
	if !ort.IsInitialized() {
		if err := ort.InitializeEnvironment(); err != nil {
			return nil, err
		}
	}
	values := make([]float32, len(s.data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(s.data[4*i:]))
	}
	in, err := ort.NewTensor(ort.NewShape(s.shape...), values)
	if err != nil {
		return nil, err
	}
	out, err := ort.NewEmptyTensor[float32](ort.NewShape(s.outShape...))
	if err != nil {
		return nil, err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(1); err != nil {
		return nil, err
	}
	session, err := ort.NewAdvancedSessionWithONNXData(s.model, []string{s.input}, []string{s.output},
		[]ort.Value{in}, []ort.Value{out}, options)
	if err != nil {
		return nil, fmt.Errorf("plain session of %s: %w", s.name, err)
	}
	return &direct{session, in, out}, nil
}

// run computes once.
func (d *direct) run() error { return d.session.Run() }

// output is the last run's output as bytes.
func (d *direct) output() []byte { return floats(d.out.GetData()) }

func (d *direct) close() {
	d.session.Destroy()
	d.in.Destroy()
	d.out.Destroy()
}
