// Package upstream is of-watchdog's http mode: the function is an HTTP server of
// any language, started by the watchdog, and requests are passed on to it.
package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/forward"
	"github.com/faas-gpu/faas-gpu/watchdog/whole"
)

// How often a server that starts is asked whether it listens: soon at first,
// since many start in milliseconds.
const (
	firstPoll = 5 * time.Millisecond
	lastPoll  = 200 * time.Millisecond
)

// idleConns is how long a connection to the server is kept without a request:
// less than any common server keeps it, else a request meets its end.
const idleConns = time.Second

// Upstream passes requests on to the function's server.
type Upstream struct {
	url       *url.URL
	buffer    int64
	listening chan struct{} // closed when it does
	transport *http.Transport
	handler   *forward.Handler
}

// PickPort replaces port 0 in a URL by one that is free now, so that several
// functions can run on one machine. Others are returned as they are, unless
// something listens there already: requests would go to it, perhaps another
// function.
func PickPort(target *url.URL) (*url.URL, error) {
	ln, err := net.Listen("tcp", address(target))
	if err == nil {
		defer ln.Close()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("upstream_url: something listens at %s already; with port 0 a free one is picked", address(target))
	case target.Port() != "0":
		return target, nil // what else is wrong with it, the function's server will say
	case err != nil:
		return nil, fmt.Errorf("upstream_url: pick a port: %w", err)
	}
	picked := *target
	picked.Host = ln.Addr().String()
	return &picked, nil
}

// address is where a server of that URL listens.
func address(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}

// New makes an upstream. Request bodies of unknown length are read whole up to
// buffer bytes, so that the server gets a Content-Length, unless buffer is 0.
// Connections that the server upgrades may be silent for idle.
func New(target *url.URL, buffer int64, idle time.Duration) *Upstream {
	u := &Upstream{url: target, buffer: buffer, listening: make(chan struct{})}
	u.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     idleConns,
		DisableCompression:  true,
		WriteBufferSize:     32 << 10,
		ReadBufferSize:      32 << 10,
	}
	u.handler = forward.New(forward.Options{Target: target, Transport: u.transport, Fail: u.fail, UpgradeIdle: idle})
	return u
}

// URL is where the server listens.
func (u *Upstream) URL() *url.URL { return u.url }

// Watch returns when the server listens, or when ctx ends.
func (u *Upstream) Watch(ctx context.Context) {
	var dialer net.Dialer
	for wait := firstPoll; ctx.Err() == nil; wait = min(2*wait, lastPoll) {
		if conn, err := dialer.DialContext(ctx, "tcp", address(u.url)); err == nil {
			conn.Close()
			close(u.listening)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// Listening is nil once the server has been seen to listen.
func (u *Upstream) Listening() error {
	select {
	case <-u.listening:
		return nil
	default:
		return fmt.Errorf("the function's server does not listen at %s yet", u.url)
	}
}

// Close closes idle connections.
func (u *Upstream) Close() { u.transport.CloseIdleConnections() }

// ServeHTTP passes a request on. While the server starts it waits as long as the
// request may.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-u.listening:
	case <-r.Context().Done():
		return // the caller answers for the context
	}
	if u.buffer > 0 && r.ContentLength < 0 {
		body, ok := whole.Read(w, r, u.buffer)
		if !ok {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.TransferEncoding = nil
	}
	u.handler.ServeHTTP(w, r)
}

// fail answers for a server that did not. Its end in the middle of an answer
// does not come here: that aborts the connection.
func (u *Upstream) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(r.Context().Err(), context.DeadlineExceeded):
		return
	case errors.Is(err, forward.ErrBody):
		status, text := whole.Broken(err)
		answer(w, status, text)
		return
	case r.Context().Err() != nil:
		return
	}
	answer(w, http.StatusBadGateway, fmt.Sprintf("the function's server at %s did not answer: %v", u.url, err))
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("X-OpenFaaS-Internal", "of-watchdog")
	http.Error(w, text, code)
}
