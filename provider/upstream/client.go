// Package upstream sends requests to replicas: a small HTTP/1.1 client whose
// caller knows, when it fails, whether a replica may have seen the request.
//
// It does its work in the caller's goroutine, where net/http's Transport uses
// two per connection; only a request body that does not fit the sockets' buffers
// is written by a second goroutine, so that both sides may talk at once. It never
// retries, follows redirects, or changes a body.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

var (
	// ErrNotSent: no byte of the request reached the replica; another one may be
	// tried.
	ErrNotSent = errors.New("replica not reached")
	// ErrTimeout: the replica said nothing for Config.Timeout or Request.Timeout.
	ErrTimeout = errors.New("replica did not answer in time")
	// ErrInterrupted is what Request.Stream returns after Request.Interrupt.
	ErrInterrupted = errors.New("interrupted")
	// ErrBody: the request body could not be read to its end.
	ErrBody = errors.New("request body")
	// ErrFailed: the connection broke, or the replica does not speak HTTP.
	ErrFailed = errors.New("replica failed")
)

// Config of a Client.
type Config struct {
	// DialTimeout bounds connecting.
	DialTimeout time.Duration
	// Timeout is how long a replica may be silent: before its response, and
	// between any two pieces of it. 0 is for ever.
	Timeout time.Duration
	// IdleTimeout is how long a connection is kept unused. It must be shorter
	// than the replicas' own.
	IdleTimeout time.Duration
	// MaxIdle is how many unused connections are kept per replica.
	MaxIdle int
}

// Client keeps connections to replicas. It is safe for concurrent use.
type Client struct {
	cfg    Config
	dialer net.Dialer

	mu     sync.Mutex
	idle   map[string][]*conn // by address, the one used last at the end
	reaper *time.Timer
	closed bool
}

// New makes a Client; Close ends it.
func New(cfg Config) *Client {
	return &Client{
		cfg:    cfg,
		dialer: net.Dialer{Timeout: cfg.DialTimeout},
		idle:   make(map[string][]*conn),
	}
}

// Close closes the connections that are not in use; those in use are closed
// when their response ends.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.reaper != nil {
		c.reaper.Stop()
	}
	for _, idle := range c.idle {
		for _, conn := range idle {
			conn.Close()
		}
	}
	clear(c.idle)
}

// Do sends r to the replica at address and returns its response, whose Close the
// caller must call. When ctx ends, so does the exchange. An error is ctx's or
// one of this package's.
func (c *Client) Do(ctx context.Context, address string, r *Request) (*Response, error) {
	conn, err := c.connect(ctx, address, c.timeout(r))
	if err != nil {
		return nil, err
	}
	x := &exchange{client: c, conn: conn, request: r, ctx: ctx}
	x.stop = context.AfterFunc(ctx, conn.interrupt)
	if err := x.send(); err != nil {
		return nil, x.fail(err)
	}
	response, err := x.receive()
	if err != nil {
		return nil, x.fail(err)
	}
	return response, nil
}

// timeout is how long a replica may be silent that answers r, 0 for ever.
func (c *Client) timeout(r *Request) time.Duration {
	if c.cfg.Timeout == 0 {
		return 0
	}
	return max(c.cfg.Timeout, r.Timeout)
}

// connect returns a connection to address, an unused one if there is any.
func (c *Client) connect(ctx context.Context, address string, timeout time.Duration) (*conn, error) {
	for {
		conn := c.take(address)
		if conn == nil {
			break
		}
		if conn.timeout = timeout; conn.alive() {
			return conn, nil
		}
		conn.Close()
	}
	raw, err := c.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return newConn(raw, address, timeout)
}

func (c *Client) take(address string) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.idle[address]
	if len(idle) == 0 {
		return nil
	}
	last := len(idle) - 1
	conn := idle[last]
	idle[last] = nil
	c.idle[address] = idle[:last]
	return conn
}

// keep puts a connection back, or closes it if there are enough.
func (c *Client) keep(conn *conn) {
	c.mu.Lock()
	idle := c.idle[conn.address]
	keep := !c.closed && len(idle) < c.cfg.MaxIdle
	if keep {
		conn.unusedSince = time.Now()
		c.idle[conn.address] = append(idle, conn)
		if c.reaper == nil {
			c.reaper = time.AfterFunc(c.cfg.IdleTimeout, c.reap)
		}
	}
	c.mu.Unlock()
	if !keep {
		conn.Close()
	}
}

// reap closes the connections that were not used for IdleTimeout, and comes
// again as long as there are any.
func (c *Client) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := time.Now().Add(-c.cfg.IdleTimeout)
	for address, idle := range c.idle {
		n := 0
		for n < len(idle) && idle[n].unusedSince.Before(old) {
			idle[n].Close()
			n++
		}
		if n == len(idle) {
			delete(c.idle, address)
		} else {
			c.idle[address] = append([]*conn(nil), idle[n:]...)
		}
	}
	c.reaper = nil
	if len(c.idle) > 0 && !c.closed {
		c.reaper = time.AfterFunc(c.cfg.IdleTimeout/2+time.Millisecond, c.reap)
	}
}

// classify says what an I/O error of an exchange means.
func classify(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrNotSent), errors.Is(err, ErrBody), errors.Is(err, ErrFailed), errors.Is(err, ErrTimeout):
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it closed the connection", ErrFailed)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}
