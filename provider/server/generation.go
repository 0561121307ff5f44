package server

import (
	"context"
	"sync"

	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/idle"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// generation is all that depends on one runtime.
type generation struct {
	provider   *provider.Provider
	dispatcher *dispatch.Dispatcher
	cancel     context.CancelFunc
	running    sync.WaitGroup
}

func (s *Server) newGeneration(rt runtime.Runtime) (*generation, error) {
	l, log := s.cfg.Limits, s.cfg.Log
	scheduler, known, err := newScheduler(l, log)
	if err != nil {
		return nil, err
	}
	nodes := provider.NewNodes(s.cfg.Nodes, log)
	g := &generation{dispatcher: dispatch.New(dispatch.Config{
		Runtime: rt, Scheduler: scheduler, Fleet: known, Prefetch: nodes.Prefetch,
		Wait: l.QueueWait, WakeFromZero: l.WakeFromZero, Log: log,
	})}
	g.provider, err = provider.New(provider.Config{
		Runtime: rt, Dispatcher: g.dispatcher, Upstream: s.upstream, Nodes: nodes,
		Credentials: s.cfg.Credentials, Version: s.cfg.Version, Limits: l.Request,
		Successor: s.front, Log: log,
	})
	if err != nil {
		g.dispatcher.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.running.Go(func() { g.dispatcher.Run(ctx) })
	g.running.Go(func() { nodes.Run(ctx, rt, g.dispatcher) })
	if l.WakeFromZero {
		g.running.Go(func() {
			idle.Run(ctx, idle.Config{Functions: g.dispatcher, Runtime: rt, After: l.ZeroAfter, Log: log})
		})
	}
	return g, nil
}

// stop follows the runtime and the nodes no longer. What is known stays, and
// leases go on.
func (g *generation) stop() {
	g.cancel()
	g.running.Wait()
}
