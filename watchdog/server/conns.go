package server

import (
	"net"
	"net/http"
	"sync"
)

// activeConns are the connections with a request that is being read, served or
// answered, and those that were upgraded, of which net/http knows nothing more.
type activeConns struct {
	mu      sync.Mutex
	conns   map[net.Conn]bool // true: upgraded
	waiting chan struct{}     // not nil: closed when conns is empty
}

func newActiveConns() *activeConns { return &activeConns{conns: make(map[net.Conn]bool)} }

// changed is the server's ConnState.
func (a *activeConns) changed(c net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state {
	case http.StateActive:
		a.conns[c] = false
	case http.StateHijacked:
		a.conns[c] = true
	default:
		a.remove(c)
	}
}

// remove is called with mu held.
func (a *activeConns) remove(c net.Conn) {
	delete(a.conns, c)
	a.signal()
}

// closeUpgraded cuts off the upgraded connections that are left.
func (a *activeConns) closeUpgraded() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c, upgraded := range a.conns {
		if upgraded {
			c.Close()
		}
	}
}

// upgradedConn counts as active until whoever has it closes it.
type upgradedConn struct {
	net.Conn
	active *activeConns
}

func (c *upgradedConn) Close() error {
	err := c.Conn.Close()
	c.active.mu.Lock()
	defer c.active.mu.Unlock()
	c.active.remove(c.Conn)
	return err
}

// CloseWrite tells the client that nothing more comes.
func (c *upgradedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

func (a *activeConns) signal() {
	if a.waiting != nil && len(a.conns) == 0 {
		close(a.waiting)
		a.waiting = nil
	}
}

// idle is closed once no connection is active.
func (a *activeConns) idle() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	done := make(chan struct{})
	a.waiting = done
	a.signal()
	return done
}
