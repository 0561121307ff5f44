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
)

// maxBuffered bounds a request body that is read whole, in bytes.
const maxBuffered = 32 << 20

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
	buffer    bool
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

// New makes an upstream. buffer: read request bodies of unknown length whole, so
// that the server gets a Content-Length.
func New(target *url.URL, buffer bool) *Upstream {
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
	u.handler = forward.New(forward.Options{Target: target, Transport: u.transport, Fail: u.fail})
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
	if u.buffer && r.ContentLength < 0 && !bufferBody(w, r) {
		return
	}
	u.handler.ServeHTTP(w, r)
}

// bufferBody reads the request's body; if that fails it answers.
func bufferBody(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBuffered))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		answer(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request body is larger than the %d bytes that http_buffer_req_body reads", int64(maxBuffered)))
		return false
	case err != nil:
		answer(w, http.StatusBadRequest, "the request body ends too early: "+err.Error())
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	return true
}

// fail answers for a server that did not. Its end in the middle of an answer
// does not come here: that aborts the connection.
func (u *Upstream) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	answer(w, http.StatusBadGateway, fmt.Sprintf("the function's server at %s did not answer: %v", u.url, err))
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("X-OpenFaaS-Internal", "of-watchdog")
	http.Error(w, text, code)
}
