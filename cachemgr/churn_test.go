package cachemgr_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestChurnOnONNXRuntime lets many clients ask for more models than there is room
// for, in batches where requests meet. What ran alone has the bits of a resident
// model that runs alone. What ran in a batch may differ in the last ones, because
// ONNX Runtime chooses its kernels by the shape: by 1e-5 at most, and the
// largest stays the largest.
func TestChurnOnONNXRuntime(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	e := newONNX(t)
	const models, inputs, clients, requests = 6, 4, 8, 25
	var subjects []*subject
	for i := range models {
		subjects = append(subjects, newSubject(t, e, fmt.Sprint("model", i), uint64(i), inputs))
	}
	m, err := cachemgr.New(cachemgr.Config{
		Engine: e, HostBudget: 1 << 30,
		DeviceBudget: func(engine.Device) int64 { return 3*subjects[0].bytes + subjects[0].bytes/2 },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subjects {
		if err := m.Add(cachemgr.Model{Digest: s.name, Name: s.name, Path: s.path, Format: engine.FormatONNX, Size: s.size}); err != nil {
			t.Fatal(err)
		}
	}
	var clientsDone sync.WaitGroup
	var together, swaps atomic.Int64
	for c := range clients {
		clientsDone.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			for range requests {
				s, input := subjects[min(rng.IntN(models), rng.IntN(models))], rng.IntN(inputs)
				res, err := s.ask(t, m, input, time.Duration(rng.IntN(50))*time.Millisecond)
				if err != nil {
					t.Errorf("%s, input %d: %v", s.name, input, err)
				}
				if res.Batch > 1 {
					together.Add(1)
				}
				if res.Outcome != "hit" {
					swaps.Add(1)
				}
			}
		})
	}
	clientsDone.Wait()
	t.Logf("of %d requests %d ran together with others, %d were misses", clients*requests, together.Load(), swaps.Load())
	if together.Load() == 0 || swaps.Load() < models {
		t.Error("too little has happened")
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func newONNX(t *testing.T) engine.Engine {
	e, err := onnxrt.New(onnxrt.Options{Library: testlibs.ONNXRuntime(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// subject is a model with inputs and what it gives for them.
type subject struct {
	name, path  string
	size, bytes int64
	inputs      [][]byte
	wants       [][]byte
}

var inputShape = []int64{1, 3, 32, 32}

// newSubject writes a model and asks an instance that nobody evicts.
func newSubject(t *testing.T, e engine.Engine, name string, seed uint64, inputs int) *subject {
	t.Helper()
	var file bytes.Buffer
	err := modelgen.Write(&file, modelgen.Spec{Family: modelgen.SqueezeNet, Seed: seed, Width: 0.25, Resolution: 32, Batch: -1})
	s := &subject{name: name, path: filepath.Join(t.TempDir(), name), size: int64(file.Len())}
	if err = errors.Join(err, os.WriteFile(s.path, file.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	st, err := e.Open(t.Context(), engine.Model{Name: name, Path: s.path, Format: engine.FormatONNX})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	instance, err := st.Load(t.Context(), onnxrt.CPU)
	if err != nil {
		t.Fatal(err)
	}
	defer instance.Close()
	s.bytes = st.Cost(onnxrt.CPU).Peak
	rng := rand.New(rand.NewPCG(seed, 1))
	for range inputs {
		in, out := tensors(nil)
		for range 3 * 32 * 32 {
			in[0].Data = binary.LittleEndian.AppendUint32(in[0].Data, math.Float32bits(float32(rng.NormFloat64())))
		}
		if err := instance.Run(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		s.inputs, s.wants = append(s.inputs, in[0].Data), append(s.wants, out[0].Data)
	}
	return s
}

func tensors(data []byte) (in, out []tensor.Tensor) {
	return []tensor.Tensor{{Name: "input", Datatype: tensor.FP32, Shape: inputShape, Data: data}}, []tensor.Tensor{{Name: "output"}}
}

// ask sends one request and checks its output.
func (s *subject) ask(t *testing.T, m *cachemgr.Manager, input int, slo time.Duration) (cachemgr.Result, error) {
	in, out := tensors(s.inputs[input])
	res, err := m.Infer(t.Context(), cachemgr.Request{
		Digest: s.name, Function: s.name, SLO: slo, MaxBatch: 4, In: in, Out: out,
	})
	if err != nil {
		return res, err
	}
	want := s.wants[input]
	if res.Batch == 1 && !bytes.Equal(out[0].Data, want) {
		return res, errors.New("not the bits of the resident model")
	}
	if len(out[0].Data) != len(want) {
		return res, fmt.Errorf("%d bytes, want %d", len(out[0].Data), len(want))
	}
	for at := 0; at < len(want); at += 4 {
		if d := math.Abs(float64(number(out[0].Data, at) - number(want, at))); !(d <= 1e-5) {
			return res, fmt.Errorf("value %d differs by %g", at/4, d)
		}
	}
	if largest(out[0].Data) != largest(want) {
		return res, errors.New("another class")
	}
	return res, nil
}

func number(b []byte, at int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
}

// largest is the place of the largest value.
func largest(b []byte) (at int) {
	for i := 0; i < len(b); i += 4 {
		if number(b, i) > number(b, at) {
			at = i
		}
	}
	return at
}
