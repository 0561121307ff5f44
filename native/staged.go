package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// staged is an open plan.
type staged struct {
	engine *Engine
	name   string
	handle cModel

	mu     sync.Mutex
	open   []*device // where an instance is, or is being made or closed
	spec   engine.Spec
	closed bool
}

var _ engine.Staged = (*staged)(nil)

// Spec is known once a Load has returned.
func (s *staged) Spec() engine.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spec
}

// Cost of a device that there is not is an estimate.
func (s *staged) Cost(id engine.DeviceID) engine.Cost {
	index := len(s.engine.devices)
	if d, err := s.engine.device(id); err == nil {
		index = d.index
	}
	return s.engine.shim.cost(s.handle, index)
}

// Load cannot be interrupted once it has begun: then a cancelled ctx takes effect
// when it is done.
func (s *staged) Load(ctx context.Context, id engine.DeviceID) (engine.Instance, error) {
	i, err := s.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", s.name, err)
	}
	return i, nil
}

func (s *staged) load(ctx context.Context, id engine.DeviceID) (_ engine.Instance, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := s.engine.device(id)
	if err != nil {
		return nil, err
	}
	if err := s.claim(d); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.unclaim(d)
		}
	}()
	if err := s.engine.shim.load(s.handle, d.index); err != nil {
		return nil, err
	}
	spec, err := s.describe()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, s.engine.shim.evict(s.handle, d.index))
	}
	return newInstance(s, d, spec), nil
}

// describe fills in the spec after the first load.
func (s *staged) describe() (engine.Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spec.Known {
		return s.spec, nil
	}
	spec, err := s.engine.shim.spec(s.handle)
	if err == nil {
		s.spec = spec
	}
	return spec, err
}

var (
	errOpenTwice = errors.New("an instance of it is open on this device already")
	errInUse     = errors.New("an instance of it is open")
	errClosed    = errors.New("it is closed")
)

func (s *staged) claim(d *device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if slices.Contains(s.open, d) {
		return errOpenTwice
	}
	s.open = append(s.open, d)
	return nil
}

func (s *staged) unclaim(d *device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(o *device) bool { return o == d })
}

// Close gives back the host image, and what is left on the devices.
func (s *staged) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		return fmt.Errorf("close %s: %w", s.name, errInUse)
	}
	if s.closed {
		return nil
	}
	s.closed = true
	s.engine.open.Add(-1)
	if err := s.engine.shim.closeModel(s.handle); err != nil {
		return fmt.Errorf("close %s: %w", s.name, err)
	}
	return nil
}
