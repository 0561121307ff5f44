package shm

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// register hands memory over, once more where the connection turns out to have
// ended: the next cache manager may be there already.
func (s *segments) register(ctx context.Context, m *Memory) (*Conn, string, error) {
	for {
		conn, fresh, err := s.connection(ctx)
		if err != nil {
			return nil, "", err
		}
		region, err := conn.Register(m)
		if !errors.Is(err, api.ErrUnreachable) {
			return conn, region, err
		}
		s.ended(conn)
		if fresh {
			return nil, "", err
		}
	}
}

var errClosed = errors.New("the client is closed")

// connection is the present one, or a fresh one. The caller holds growing.
func (s *segments) connection(ctx context.Context) (conn *Conn, fresh bool, err error) {
	s.mu.Lock()
	conn = s.conn
	s.mu.Unlock()
	if conn != nil {
		return conn, false, nil
	}
	if conn, err = Dial(ctx, s.socket, s.token()); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, false, errClosed
	}
	s.conn, s.told = conn, ""
	return conn, true, nil
}

// failed takes note that one of n bytes could not be made. The caller's own end is
// no reason to stop trying.
func (s *segments) failed(ctx context.Context, n int64, err error) {
	s.mu.Lock()
	s.bytes -= n
	if ctx.Err() != nil || errors.Is(err, errClosed) {
		s.mu.Unlock()
		return
	}
	s.wait = min(max(2*s.wait, firstRetry), lastRetry)
	s.retryAt = time.Now().Add(s.wait)
	kind := err.Error()
	if e, ok := errors.AsType[*api.Error](err); ok {
		kind = strconv.Itoa(e.Status) // its words tell numbers that change
	}
	news := s.told != kind
	s.told = kind
	s.mu.Unlock()
	if news {
		s.log.Info("large tensors go through the socket: memory is not shared with the cache manager", "reason", err)
	}
}

// ended takes note of the end of a connection.
func (s *segments) ended(conn *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		s.disconnect()
	}
}

// disconnect drops the connection with all that is idle. s.mu is held.
func (s *segments) disconnect() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close() // it is given up
	s.conn = nil
	for _, list := range s.idle {
		for _, g := range list {
			s.discard(g)
		}
	}
	clear(s.idle)
}
