package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// detachKey is where a request's context has the function that detaches it.
type detachKey struct{}

// withUpgrade is r, able to be upgraded: its context ends with that of r, which
// has the function's time limit, until the server behind has switched to another
// protocol. From then on it does not: a WebSocket lasts as long as its sides like.
// The caller must call end.
func withUpgrade(r *http.Request) (out *http.Request, end func()) {
	if r.Header.Get("Upgrade") == "" {
		return r, func() {}
	}
	outer := r.Context()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(outer))
	detach := context.AfterFunc(outer, func() { cancel(context.Cause(outer)) })
	return r.WithContext(context.WithValue(ctx, detachKey{}, detach)), func() {
		detach()
		cancel(context.Canceled)
	}
}

// upgraded is called with every response before it goes out: the body of one that
// has switched is the connection to the server.
func upgraded(resp *http.Response, idle time.Duration) error {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil
	}
	detach, asked := resp.Request.Context().Value(detachKey{}).(func() bool)
	conn, writable := resp.Body.(io.ReadWriteCloser)
	if !asked || !writable {
		return errors.New("it switched to a protocol that nobody asked for")
	}
	detach()
	resp.Body = newIdle(conn, idle)
	return nil
}

// idleConn is a connection that is closed after a silence.
type idleConn struct {
	io.ReadWriteCloser
	limit time.Duration
	timer *time.Timer
}

func newIdle(c io.ReadWriteCloser, limit time.Duration) *idleConn {
	return &idleConn{c, limit, time.AfterFunc(limit, func() { c.Close() })}
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.timer.Reset(c.limit)
	return n, err
}

func (c *idleConn) Write(p []byte) (int, error) {
	c.timer.Reset(c.limit)
	return c.ReadWriteCloser.Write(p)
}

func (c *idleConn) Close() error {
	c.timer.Stop()
	return c.ReadWriteCloser.Close()
}

// CloseWrite tells the other side that nothing more comes.
func (c *idleConn) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
