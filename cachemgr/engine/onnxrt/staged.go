package onnxrt

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// staged is a model's file in memory.
type staged struct {
	engine *Engine
	name   string
	file   []byte
	model  *onnxfile.Model
	spec   engine.Spec
	cost   engine.Cost

	// Names in the order of the spec, as sessions want them.
	inputs, outputs []string

	mu   sync.Mutex
	open bool // an instance is
}

func newStaged(e *Engine, name string, file []byte, m *onnxfile.Model) *staged {
	e.open.Add(1)
	s := &staged{engine: e, name: name, file: file, model: m}
	s.spec = engine.Spec{
		Known:       true,
		Inputs:      specs(m.Inputs),
		Outputs:     specs(m.Outputs),
		MaxBatch:    maxBatch(m.Inputs),
		Concurrency: e.concurrency,
	}
	for _, v := range m.Inputs {
		s.inputs = append(s.inputs, v.Name)
	}
	for _, v := range m.Outputs {
		s.outputs = append(s.outputs, v.Name)
	}
	s.cost = estimate(m, int64(len(file)), e.concurrency)
	return s
}

func specs(values []onnxfile.Value) []tensor.Spec {
	out := make([]tensor.Spec, len(values))
	for i, v := range values {
		out[i] = tensor.Spec{Name: v.Name, Datatype: v.Datatype, Shape: make([]int64, len(v.Dims))}
		for j, d := range v.Dims {
			out[i].Shape[j] = d.Size
		}
	}
	return out
}

// maxBatch takes the first dimension for the batch if all inputs have one and
// agree on it.
func maxBatch(inputs []onnxfile.Value) int {
	for _, v := range inputs {
		if len(v.Dims) == 0 || v.Dims[0].Size != inputs[0].Dims[0].Size {
			return 0
		}
	}
	return int(inputs[0].Dims[0].Size)
}

// sessionBytes is what a session takes beside weights and activations: the graph
// and the plan of its execution.
const sessionBytes = 1 << 20

// estimate is a guess from the file. A session holds the weights once, as its
// kernels want them, and each Run its activations. While it is made there is also
// the parsed file, and for a moment most filters of convolutions in two more
// forms, of which one and a half times their bytes are the most that was seen.
func estimate(m *onnxfile.Model, fileBytes int64, concurrency int) engine.Cost {
	const most = 1 << 50 // no sum below overflows
	activations := min(m.ActivationBytes, most) * int64(concurrency)
	resident := m.WeightBytes + activations + sessionBytes
	return engine.Cost{
		Peak:      resident + fileBytes + m.FilterBytes/2*3,
		Resident:  resident,
		Host:      fileBytes,
		Estimated: true,
	}
}

func (s *staged) Spec() engine.Spec { return s.spec }

func (s *staged) Cost(engine.DeviceID) engine.Cost { return s.cost }

// Load makes a session. It cannot be interrupted once it has begun: then a
// cancelled ctx takes effect when it is done.
func (s *staged) Load(ctx context.Context, d engine.DeviceID) (_ engine.Instance, err error) {
	if d != CPU {
		return nil, fmt.Errorf("%w: there is no device %q here, only %q", engine.ErrUnavailable, d, CPU)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.claim(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.unclaim()
		}
	}()
	session, err := newSession(s.file, s.inputs, s.outputs, s.engine.session)
	s.engine.trim.freed()
	if err != nil {
		return nil, classify(err, engine.ErrBadModel)
	}
	i := &instance{staged: s, session: session}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, i.release())
	}
	return i, nil
}

var errOpenTwice = errors.New("an instance of it is open on this device already")

func (s *staged) claim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return errOpenTwice
	}
	s.open = true
	return nil
}

func (s *staged) unclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
}

var errInUse = errors.New("an instance of it is open")

func (s *staged) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return fmt.Errorf("close %s: %w", s.name, errInUse)
	}
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	s.engine.open.Add(-1)
	return unmap(file)
}
