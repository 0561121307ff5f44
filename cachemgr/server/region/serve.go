package region

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Owner is whose a connection is, as its token says.
type Owner struct {
	Function api.FunctionRef
	Minted   time.Time // when the token was made
	Expires  time.Time // zero: never
}

// Server takes connections of functions and keeps their regions.
type Server struct {
	Pool  *Pool
	Epoch string // of this run of the cache manager
	Log   *slog.Logger
	// Patience is how long a client may take to say who it is, and to take an
	// answer.
	Patience time.Duration
	// Owner says whose a token is, or why it is nobody's. Gone says whether that
	// function has ceased to exist since.
	Owner func(token string) (Owner, error)
	Gone  func(Owner) bool
	// Admit says whether there may be one more connection, Left that it has ended.
	Admit func(net.Conn) bool
	Left  func(net.Conn)

	mu     sync.Mutex
	conns  map[*net.UnixConn]*session
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
		s.conns = make(map[*net.UnixConn]*session)
	}
	session := &session{server: s, conn: unix, regions: make(map[string]*Region)}
	s.conns[unix] = session
	s.work.Go(func() {
		defer s.end(unix)
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

// EndGone ends the connections of functions that are gone, and with them their
// regions, but for what requests still use.
func (s *Server) EndGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, session := range s.conns {
		if session.greeted && s.Gone(session.owner) {
			_ = c.Close()
		}
	}
}

// greet takes note of whose a connection is.
func (s *Server) greet(of *session, token string) error {
	owner, err := s.Owner(token)
	if err != nil {
		return fmt.Errorf("%w: %w", errToken, err)
	}
	s.mu.Lock()
	of.owner, of.greeted = owner, true
	s.mu.Unlock()
	if s.Gone(owner) { // asked only now: from now on EndGone sees it
		return fmt.Errorf("%w: this function does not exist any more", errToken)
	}
	return of.conn.SetReadDeadline(owner.Expires) // zero is none
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
