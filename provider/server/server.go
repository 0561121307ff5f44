// Package server puts the provider together and serves it: on a listener that is
// passed in, so that a program, a test and the stack in one process start it the
// same way.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// Config of a Server.
type Config struct {
	Listener net.Listener // closed by the Server
	Runtime  runtime.Runtime
	// Nodes are the cache managers by their address, see NodeClients.
	Nodes map[string]provider.NodeClient
	// Credentials that the API needs; nil leaves it open.
	Credentials *auth.BasicAuthCredentials
	Version     types.VersionInfo
	Limits      Limits
	Log         *slog.Logger
}

// Server is a provider that serves.
type Server struct {
	http       *http.Server
	dispatcher *dispatch.Dispatcher
	upstream   *upstream.Client
	cancel     context.CancelFunc
	running    sync.WaitGroup
	failed     chan error
}

// Times that need no configuration.
const (
	headerTimeout = 10 * time.Second // for a client to send a request's head
	clientIdle    = 2 * time.Minute  // for a client to use its connection again
)

// Start serves until Shutdown.
func Start(cfg Config) (*Server, error) {
	if cfg.Listener == nil || cfg.Runtime == nil || cfg.Log == nil {
		return nil, errors.New("provider server: Listener, Runtime and Log are needed")
	}
	l := cfg.Limits
	s := &Server{
		upstream: upstream.New(upstream.Config{
			DialTimeout: l.DialTimeout, Timeout: l.UpstreamTimeout, IdleTimeout: l.UpstreamIdle, MaxIdle: l.UpstreamConns,
		}),
		dispatcher: dispatch.New(dispatch.Config{
			Runtime: cfg.Runtime, Scheduler: sched.NewLeastInFlight(l.Queue), Wait: l.QueueWait, WakeFromZero: l.WakeFromZero, Log: cfg.Log,
		}),
		failed: make(chan error, 1),
	}
	nodes := provider.NewNodes(cfg.Nodes, cfg.Log)
	p, err := provider.New(provider.Config{
		Runtime: cfg.Runtime, Dispatcher: s.dispatcher, Upstream: s.upstream, Nodes: nodes,
		Credentials: cfg.Credentials, Version: cfg.Version, Limits: l.Request, Log: cfg.Log,
	})
	if err != nil {
		s.dispatcher.Close()
		return nil, err
	}
	s.http = &http.Server{
		Handler: p, ConnContext: provider.ConnContext,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: clientIdle,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	s.http.RegisterOnShutdown(p.Close)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.running.Go(func() { s.dispatcher.Run(ctx) })
	s.running.Go(func() { nodes.Run(ctx, cfg.Runtime) })
	s.running.Go(func() {
		if err := s.http.Serve(cfg.Listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("provider server: %w", err)
		}
	})
	return s, nil
}

// Failed tells when the Server no longer serves although it should.
func (s *Server) Failed() <-chan error { return s.failed }

// Shutdown takes no new requests and waits for those in flight until ctx ends,
// when it cuts them off. The runtime and its replicas go on.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut off: %w", errors.Join(err, s.http.Close()))
	}
	s.cancel()
	s.running.Wait()
	s.dispatcher.Close()
	s.upstream.Close()
	return err
}
