package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// tunnel joins the client with a replica that has switched protocols. The lease
// of the replica lasts as long.
func (v *invocation) tunnel(response *upstream.Response) {
	client, buffered, err := http.NewResponseController(v.w).Hijack()
	if err != nil {
		v.refuse(fmt.Errorf("%w: the client's connection cannot be upgraded: %w", upstream.ErrFailed, err))
		return
	}
	defer client.Close()
	v.status = http.StatusSwitchingProtocols
	if !v.p.tunnels.add(client) {
		return // its time to finish requests is over
	}
	defer v.p.tunnels.remove(client)
	client.SetWriteDeadline(time.Now().Add(v.p.cfg.Limits.BodyTimeout))
	if err := v.writeSwitch(buffered, response); err != nil {
		v.status = statusClientGone
		return
	}
	client.SetWriteDeadline(time.Time{})
	response.Tunnel(client, buffered.Reader, v.p.cfg.Limits.UpgradeIdle)
}

// flusher is a buffered connection.
type flusher interface {
	io.Writer
	Flush() error
}

// writeSwitch passes on the head in which the replica has switched.
func (v *invocation) writeSwitch(w flusher, response *upstream.Response) error {
	h, protocol := response.Header, response.Header.Get("Upgrade")
	upstream.StripHopByHop(h)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", protocol)
	if _, ok := h[api.HeaderCallID]; !ok {
		h[api.HeaderCallID] = []string{v.callID}
	}
	_, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n")
	if err == nil {
		err = h.Write(w)
	}
	if err == nil {
		_, err = io.WriteString(w, "\r\n")
	}
	return errors.Join(err, w.Flush())
}

// tunnels are the clients whose connections were upgraded. net/http's server
// knows nothing of them any more.
type tunnels struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	empty  chan struct{} // not nil: closed when conns is empty
}

// add reports whether a connection may begin.
func (t *tunnels) add(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.conns == nil {
		t.conns = make(map[net.Conn]struct{})
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *tunnels) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	t.signal()
}

// signal tells that there are none left. mu is held.
func (t *tunnels) signal() {
	if t.empty != nil && len(t.conns) == 0 {
		close(t.empty)
		t.empty = nil
	}
}

// ended is closed once there are none. There may be one caller.
func (t *tunnels) ended() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := make(chan struct{})
	t.empty = done
	t.signal()
	return done
}

// cut closes those that are left, lets no other begin, and returns how many.
func (t *tunnels) cut() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.conns {
		c.Close()
	}
	return len(t.conns)
}

// Drain waits until the connections that were upgraded have ended, at the latest
// until ctx ends, and cuts off the others. It is called when no request can begin
// any more: net/http's server does not wait for such connections.
func (p *Provider) Drain(ctx context.Context) error {
	select {
	case <-p.tunnels.ended():
	case <-ctx.Done():
	}
	n := p.tunnels.cut()
	<-p.tunnels.ended()
	if n > 0 {
		return fmt.Errorf("%d upgraded connections were cut off: %w", n, ctx.Err())
	}
	return nil
}
