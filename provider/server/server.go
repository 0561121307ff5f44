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
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
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

// Server is a provider that serves. Its methods are called one after the other.
type Server struct {
	cfg      Config // Runtime is the first one
	http     *http.Server
	front    *front
	upstream *upstream.Client
	running  sync.WaitGroup
	failed   chan error

	connections atomic.Int64 // of clients
	passingOn   atomic.Bool
	// generations are the parts that used one runtime each; the last is present.
	generations []*generation
}

// Times that need no configuration.
const (
	headerTimeout = 10 * time.Second // for a client to send a request's head
	clientIdle    = 2 * time.Minute  // for a client to use its connection again
)

// Start serves until Shutdown or PassOn.
func Start(cfg Config) (*Server, error) {
	if cfg.Listener == nil || cfg.Runtime == nil || cfg.Log == nil {
		return nil, errors.New("provider server: Listener, Runtime and Log are needed")
	}
	l := cfg.Limits
	s := &Server{
		cfg:   cfg,
		front: newFront(),
		upstream: upstream.New(upstream.Config{
			DialTimeout: l.DialTimeout, Timeout: l.UpstreamTimeout, IdleTimeout: l.UpstreamIdle, MaxIdle: l.UpstreamConns,
		}),
		failed: make(chan error, 1),
	}
	if err := s.use(cfg.Runtime); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler: s.front, ConnContext: provider.ConnContext, ConnState: s.count,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: clientIdle,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	s.http.RegisterOnShutdown(func() { s.present().provider.Close() })
	s.running.Go(func() {
		if err := s.http.Serve(cfg.Listener); !errors.Is(err, http.ErrServerClosed) && !s.passingOn.Load() {
			s.failed <- fmt.Errorf("provider server: %w", err)
		}
	})
	return s, nil
}

// use serves with a runtime from now on.
func (s *Server) use(rt runtime.Runtime) error {
	g, err := s.newGeneration(rt)
	if err != nil {
		return err
	}
	s.generations = append(s.generations, g)
	s.front.show(stage{handler: g.provider})
	return nil
}

func (s *Server) present() *generation { return s.generations[len(s.generations)-1] }

// count counts the connections of clients.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.connections.Add(-1)
	}
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
	s.running.Wait()
	for _, g := range s.generations {
		err = errors.Join(err, g.provider.Drain(ctx))
		g.stop()
		g.dispatcher.Close()
	}
	s.upstream.Close()
	return err
}
