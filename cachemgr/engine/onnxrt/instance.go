package onnxrt

import (
	"context"
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// instance is a session.
type instance struct {
	staged  *staged
	session *session
	closed  bool

	mu   sync.Mutex
	idle []*call // at most as many as Runs at once
}

// Run is described in the contract. What a caller gets wrong is found before
// anything is computed, so its buffers are not touched then. A cancelled ctx ends
// the run between two operators of the graph.
func (i *instance) Run(ctx context.Context, in, out []tensor.Tensor) error {
	if err := i.run(ctx, in, out); err != nil {
		return fmt.Errorf("run %s: %w", i.staged.name, err)
	}
	return nil
}

func (i *instance) run(ctx context.Context, in, out []tensor.Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := i.call()
	if err != nil {
		return err
	}
	defer i.recycle(c)
	if err := c.bind(in, out); err != nil {
		return err
	}
	if err := c.compute(ctx, i.session); err != nil {
		return err
	}
	return c.finish(out)
}

func (i *instance) call() (*call, error) {
	i.mu.Lock()
	if n := len(i.idle); n > 0 {
		c := i.idle[n-1]
		i.idle = i.idle[:n-1]
		i.mu.Unlock()
		return c, nil
	}
	i.mu.Unlock()
	return newCall(i.staged)
}

// recycle keeps c for the next Run.
func (i *instance) recycle(c *call) {
	c.reset()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.idle = append(i.idle, c)
}

// Close ends the session.
func (i *instance) Close() error {
	if i.closed {
		return nil
	}
	i.closed = true
	err := i.release()
	i.staged.unclaim()
	return err
}

// release gives the session's memory back to the system.
func (i *instance) release() error {
	for _, c := range i.idle {
		c.destroy()
	}
	err := i.session.Destroy()
	i.staged.engine.trim.freed()
	if err != nil {
		return fmt.Errorf("close %s: %w", i.staged.name, err)
	}
	return nil
}

var _ engine.Instance = (*instance)(nil)
