package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// answerGrace is added to the time that a connection may be written to, so that
// a 504 at the very end of write_timeout still gets out.
const answerGrace = time.Second

// idleTimeout is how long a connection is kept without a request; longer than
// callers keep theirs, so that they do not send on one that is being closed.
const idleTimeout = 3 * time.Minute

// Run serves on ln until ctx ends, then takes no new requests and returns when
// those that were there are answered, after write_timeout, or when force is
// closed. The lock file exists while requests are taken.
func (s *Server) Run(ctx context.Context, ln net.Listener, force <-chan struct{}) error {
	active := s.active
	srv := &http.Server{
		Handler:        s,
		ReadTimeout:    s.Config.ReadTimeout,
		WriteTimeout:   s.Config.WriteTimeout + answerGrace,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: 1 << 20,
		ConnState:      active.changed,
		ErrorLog:       httpErrors(s.Log),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer active.closeUpgraded()
	defer srv.Close()
	if err := s.accept(); err != nil {
		return err
	}
	select {
	case err := <-served:
		s.leave()
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.leave()
	s.drain(srv, active, force)
	return nil
}

// accept makes the function healthy.
func (s *Server) accept() error {
	if !s.Config.SuppressLock {
		err := os.MkdirAll(s.Config.TempDir, 0o755)
		if err == nil {
			err = os.WriteFile(s.Config.LockFile(), nil, 0o660)
		}
		if err != nil {
			return fmt.Errorf("lock file (suppress_lock=true does without): %w", err)
		}
	}
	s.accepting.Store(true)
	return nil
}

// leave makes it unhealthy.
func (s *Server) leave() {
	s.accepting.Store(false)
	if s.Config.SuppressLock {
		return
	}
	if err := os.Remove(s.Config.LockFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Log.Warn("the lock file stays", "error", err)
	}
}

// drain waits only as long as there is work.
func (s *Server) drain(srv *http.Server, active *activeConns, force <-chan struct{}) {
	if s.Config.LeaveDelay > 0 {
		waitFor(s.Config.LeaveDelay, nil, force)
	}
	// Shutdown closes the listener and idle connections at once. What it waits for
	// also includes connections that never sent a request, so it is not waited for.
	ctx, cancel := context.WithCancel(context.Background())
	var shutdown sync.WaitGroup
	shutdown.Go(func() { _ = srv.Shutdown(ctx) })
	defer shutdown.Wait()
	defer cancel()
	if !waitFor(s.Config.WriteTimeout, active.idle(), force) {
		s.Log.Warn("requests were cut off", "running", s.metrics.inflight.Load())
	}
}

// waitFor reports whether done was closed before the time was over or force
// closed.
func waitFor(limit time.Duration, done, force <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-force:
	case <-timer.C:
	}
	return false
}

// httpErrors takes net/http's own complaints, most of them about clients.
func httpErrors(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelWarn) }
