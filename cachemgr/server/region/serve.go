package region

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Server takes connections of functions and keeps their regions.
type Server struct {
	Pool  *Pool
	Epoch string // of this run of the cache manager
	Log   *slog.Logger
	// Patience is how long a client may take to say who it is, and to take an
	// answer.
	Patience time.Duration
	// Owner says whose a token is, or why it is nobody's.
	Owner func(token string) (api.FunctionRef, error)
	// Admit says whether there may be one more connection, Left that it has ended.
	Admit func(net.Conn) bool
	Left  func(net.Conn)

	mu     sync.Mutex
	conns  map[*net.UnixConn]struct{}
	closed bool
	work   sync.WaitGroup
}

// Serve takes connections until l is closed, which is no error once Close was
// called.
func (s *Server) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.closed {
				return nil
			}
			return err
		}
		s.begin(c)
	}
}

// begin serves a connection in the background.
func (s *Server) begin(c net.Conn) {
	unix, ok := c.(*net.UnixConn)
	if !ok || !s.Admit(c) {
		s.Log.Debug("connection for shared memory refused: there are too many")
		_ = c.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.Left(c)
		_ = c.Close()
		return
	}
	if s.conns == nil {
		s.conns = make(map[*net.UnixConn]struct{})
	}
	s.conns[unix] = struct{}{}
	s.work.Go(func() {
		defer s.end(unix)
		session := &session{server: s, conn: unix, regions: make(map[string]*Region)}
		if err := session.run(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.Log.Debug("connection for shared memory ended", "error", err)
		}
	})
}

func (s *Server) end(c *net.UnixConn) {
	_ = c.Close()
	s.Left(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close ends all connections and waits until their regions are gone, but for what
// requests still use.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}
