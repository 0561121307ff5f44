// Package server is the watchdog's HTTP server around a function: health and
// readiness, limits and timeouts, metrics, log lines, and an orderly end. What
// answers the requests, a handler in process or a server behind it, is given to
// it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/logs"
	"github.com/prometheus/client_golang/prometheus"
)

// Marks errors that the platform made, not the function.
const (
	headerInternal   = "X-Openfaas-Internal"
	internalWatchdog = "of-watchdog"
	internalLimit    = "faas-middleware"
)

// statusClientGone stands in logs and metrics for a request whose client did not
// wait.
const statusClientGone = 499

// Models are the function's models, behind the cache manager.
type Models interface {
	call.Inferer
	// Ready is nil if all of them can serve; the error says which cannot and why.
	Ready(ctx context.Context) error
	// Status says where they are.
	Status(ctx context.Context) (*api.CacheStatus, error)
	// Handler answers the Open Inference Protocol, /v2/..., for them.
	http.Handler
}

// Options are what a Server is made of.
type Options struct {
	Config   *config.Config
	Function http.Handler
	// Forked says that Function is another process, which has to ask for its models
	// at /v2: what they did is told in the answer to the request it was for.
	Forked bool
	// Listening is nil, or says why the function cannot take requests yet.
	Listening func() error
	Models    Models // nil for a function without models
	Log       *slog.Logger
	Lines     logs.Sink // takes one line for each request
	Registry  prometheus.Registerer
}

// Server serves one function.
type Server struct {
	Options
	metrics   *requestMetrics
	active    *activeConns
	accepting atomic.Bool
	running   running
	platform  map[string]http.HandlerFunc // the routes that are not the function's
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{Options: o, active: newActiveConns(), metrics: newRequestMetrics(o.Registry, o.Config.MaxInflight)}
	s.platform = map[string]http.HandlerFunc{
		"/_/health": s.serveHealth, "/_/ready": s.serveReady, "/_/cache": s.serveCache,
	}
	return s
}

// ServeHTTP routes by path alone and changes no path: the function sees what the
// client sent.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if handle, ok := s.platform[r.URL.Path]; ok {
		handle(w, r)
		return
	}
	s.serveFunction(w, r)
}

// serveFunction runs one request within the function's limits.
func (s *Server) serveFunction(w http.ResponseWriter, r *http.Request) {
	c := call.New(r, s.inferer(), s.Config.SecretsDir)
	resp := newResponse(w, c, s.active, time.Now())
	defer s.record(r, resp)
	handle := s.serveLimited
	if s.isProtocol(r) {
		handle = s.Models.ServeHTTP
		c.Outer = s.running.find(c.ID)
	}
	s.run(resp, r, handle)
}

// isProtocol reports whether a request is for the models' protocol, which lies
// below /v2 if there are models. It does not count towards max_inflight: a
// handler of another language asks for its models there, in the middle of a
// request.
func (s *Server) isProtocol(r *http.Request) bool {
	p := r.URL.Path
	return s.Models != nil && (p == "/v2" || strings.HasPrefix(p, "/v2/"))
}

// serveLimited runs the handler unless max_inflight others are running.
func (s *Server) serveLimited(w http.ResponseWriter, r *http.Request) {
	running := s.metrics.inflight.Add(1)
	defer s.metrics.inflight.Add(-1)
	if limit := s.Config.MaxInflight; limit > 0 && running > int64(limit) {
		s.metrics.refused.Inc()
		w.Header().Set(headerInternal, internalLimit)
		writeText(w, http.StatusTooManyRequests, fmt.Sprintf("Concurrent request limit exceeded: max_inflight is %d\n", limit))
		return
	}
	if c := call.From(r.Context()); s.Forked && s.Models != nil && c.ID != "" {
		s.running.begin(c)
		defer s.running.end(c)
	}
	s.Function.ServeHTTP(w, r)
}

// inferer avoids an interface that holds a nil one.
func (s *Server) inferer() call.Inferer {
	if s.Models == nil {
		return nil
	}
	return s.Models
}

// run gives the handler its time. No goroutine waits for the end of it: the
// context's timer starts one then, which answers in the handler's place.
func (s *Server) run(resp *response, r *http.Request, handle http.HandlerFunc) {
	limit := timeLimit(s.Config, r.Header)
	ctx, cancel := context.WithTimeout(call.With(r.Context(), resp.call), limit)
	defer cancel()
	answered := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(answered)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			resp.timeout(limit)
		}
	})
	defer func() {
		// net/http takes the response back on return: a 504 must be out by then.
		if !stop() {
			<-answered
		}
	}()
	defer s.recoverPanic(resp, r)
	handle(resp, r.WithContext(ctx))
	resp.finish(ctx, limit)
}

// recoverPanic answers 500 for a handler that panicked, or ends the connection
// if it had begun to answer: a client must not take a part for the whole.
func (s *Server) recoverPanic(resp *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler {
		s.Log.Error("the handler panicked", "call_id", resp.call.ID, "method", r.Method, "uri", r.RequestURI, "panic", p, "stack", string(debug.Stack()))
		if resp.state.Load() == open {
			clear(resp.header)
			resp.header.Set(headerInternal, internalWatchdog)
			writeText(resp, http.StatusInternalServerError, "the function panicked; its log has the reason\n")
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// record counts a request and writes its line. Probes leave none.
func (s *Server) record(r *http.Request, resp *response) {
	took := time.Since(resp.start)
	code := resp.code
	if code == 0 {
		code = http.StatusBadGateway // aborted before there was a head
	}
	s.metrics.done(code, r.Method, took)
	if !strings.HasPrefix(r.UserAgent(), "kube-probe") {
		s.Lines.Line(requestLine(r, code, resp.bytes, took, s.callID(resp.call)))
	}
}

func (s *Server) callID(c *call.Call) string {
	if s.Config.LogCallID {
		return c.ID
	}
	return ""
}
