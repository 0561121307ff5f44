package testengine

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// staged is a model in host memory; its fields are guarded by Engine.mu.
type staged struct {
	engine  *Engine
	path    string
	def     Model
	loaded  bool // once at least
	closed  bool
	on      map[engine.DeviceID]*instance // also while it loads, then with nil weights
	residue map[engine.DeviceID]int64
}

func (s *staged) cost() engine.Cost {
	if s.loaded && s.def.Measured != (engine.Cost{}) {
		return s.def.Measured
	}
	return s.def.Cost
}

func (s *staged) Spec() engine.Spec {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.def.Late && !s.loaded {
		return engine.Spec{}
	}
	return spec(s.def)
}

func (s *staged) Cost(engine.DeviceID) engine.Cost {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return s.cost()
}

func (s *staged) Load(ctx context.Context, d engine.DeviceID) (engine.Instance, error) {
	e, c := s.engine, Call{Op: Load, Model: s.path, Device: d}
	defer e.after(c)
	i := &instance{staged: s, device: d}
	e.mu.Lock()
	if s.closed {
		e.Errorf("load of %s, which is closed", s.path)
	}
	if s.on[d] != nil {
		e.Errorf("two instances of %s on %s", s.path, d)
	}
	s.on[d] = i
	peak := s.cost().Peak
	e.add(d, peak-s.residue[d])
	e.mu.Unlock()

	err := e.before(ctx, c)

	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		delete(s.on, d)
		e.add(d, s.residue[d]-peak)
		return nil, err
	}
	hostBefore := s.cost().Host
	s.loaded = true
	e.addHost(s.cost().Host - hostBefore)
	i.held = s.cost()
	e.add(d, i.held.Resident-peak)
	s.residue[d] = 0
	i.weights = weights(s.path)
	return i, nil
}

func (s *staged) Close() error {
	e, c := s.engine, Call{Op: Unstage, Model: s.path}
	defer e.after(c)
	e.mu.Lock()
	if s.closed {
		e.Errorf("%s closed twice", s.path)
	}
	if len(s.on) > 0 {
		e.Errorf("%s closed with %d instances open", s.path, len(s.on))
	}
	s.closed = true
	e.mu.Unlock()

	err := e.before(context.Background(), c)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
	e.addHost(-s.cost().Host)
	for d, n := range s.residue {
		e.add(d, -n)
	}
	return err
}

// instance is a model on a device; its fields are guarded by Engine.mu, but for
// weights, which a wrong order of calls would make a race.
type instance struct {
	staged  *staged
	device  engine.DeviceID
	held    engine.Cost
	running int
	closed  bool
	weights []byte
}

func (i *instance) Run(ctx context.Context, in, out []tensor.Tensor) error {
	e, c := i.staged.engine, Call{Op: Run, Model: i.staged.path, Device: i.device}
	defer e.after(c)
	if len(in) != 1 || len(out) != 1 {
		return fmt.Errorf("%d inputs and %d outputs, want one each: %w", len(in), len(out), engine.ErrBadInput)
	}
	e.mu.Lock()
	i.running++
	if i.closed {
		e.Errorf("run of %s, which is evicted", i.staged.path)
	}
	if i.running > max(i.staged.def.Concurrency, 1) {
		e.Errorf("%d runs of %s at once", i.running, i.staged.path)
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		i.running--
	}()
	if err := e.before(ctx, c); err != nil {
		return err
	}
	if out[0].Data == nil {
		out[0].Data = make([]byte, len(in[0].Data))
		out[0].Shape, out[0].Datatype = slices.Clone(in[0].Shape), in[0].Datatype
	}
	if refuses := i.staged.def.Refuses; refuses != nil && refuses(in[0].Data) {
		return fmt.Errorf("refused: %w", engine.ErrBadInput)
	}
	half := len(in[0].Data) / 64 * 32 // a multiple of the length of weights
	apply(i.weights, in[0].Data[:half], out[0].Data)
	runtime.Gosched()
	apply(i.weights, in[0].Data[half:], out[0].Data[half:])
	return ctx.Err()
}

func (i *instance) Close() error {
	e, c := i.staged.engine, Call{Op: Evict, Model: i.staged.path, Device: i.device}
	defer e.after(c)
	e.mu.Lock()
	if i.closed {
		e.Errorf("%s evicted twice", i.staged.path)
	}
	if i.running > 0 {
		e.Errorf("%s evicted while %d runs go on", i.staged.path, i.running)
	}
	i.closed = true
	e.mu.Unlock()

	for n := range i.weights {
		i.weights[n] = 0xDB
	}
	err := e.before(context.Background(), c)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.add(i.device, i.held.Residual-i.held.Resident)
	i.staged.residue[i.device] = i.held.Residual
	delete(i.staged.on, i.device)
	return err
}
