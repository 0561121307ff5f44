package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
	"github.com/faas-gpu/faas-gpu/watchdog/forward"
	"github.com/faas-gpu/faas-gpu/watchdog/whole"
)

// Proxy passes the Open Inference Protocol on to the cache manager, for the
// function's own models and with the function's token. Bodies are not decoded.
type Proxy struct {
	a         *Attachment
	token     func() string
	transport *http.Transport
	handler   *forward.Handler
}

// NewProxy makes a proxy to the cache manager at a Unix socket.
func NewProxy(a *Attachment, socket string, token func() string) *Proxy {
	p := &Proxy{a: a, token: token}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	p.transport = &http.Transport{
		DialContext: forward.BulkDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}),
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	p.handler = forward.New(forward.Options{
		Target:    &url.URL{Scheme: "http", Host: "cachemgr"},
		Transport: p,
		Edit:      p.edit,
		Inspect:   p.inspect,
		Fail:      p.fail,
	})
	return p
}

// Close drops idle connections.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// ServeHTTP answers /v2/...
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.check(r.URL.Path); err != nil {
		p.fail(w, r, err)
		return
	}
	p.handler.ServeHTTP(w, r)
}

// check lets through what is about the function's own models. The routes of the
// node are not among them, whatever a path looks like.
func (p *Proxy) check(path string) error {
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if segment == "." || segment == ".." {
			return &api.Error{Status: http.StatusBadRequest, Message: "the path has a segment " + strconv.Quote(segment)}
		}
	}
	switch {
	case path == "/v2", strings.HasPrefix(path, "/v2/health/"), path == "/v2/repository/index", path == "/v2/models/stats":
		return nil
	}
	model, version, ok := modelOf(path)
	if !ok || !isModelRoute(path, model, version) {
		return &api.Error{Status: http.StatusNotFound, Message: "no such route: " + path}
	}
	if isControl(path) && !p.a.Control {
		return &api.Error{Status: http.StatusForbidden, Message: "models are not loaded and unloaded from outside, unless the function is deployed with model_control=true"}
	}
	if !p.a.has(model, version) {
		return p.a.unknown(model, version)
	}
	if s := p.a.state.Load(); s != nil {
		if reason := p.a.refusal(s, model, version); reason != "" {
			return refused(model, reason)
		}
	}
	return nil
}

// isControl reports whether a path is for loading or unloading a model.
func isControl(path string) bool { return strings.HasPrefix(path, routeControl) }

const routeControl = "/v2/repository/models/"

// isModelRoute reports whether the cache manager has such a route: only then its
// 404 says that it does not know the model.
func isModelRoute(path, model, version string) bool {
	switch {
	case isControl(path):
		verb := strings.TrimPrefix(path, routeControl+model)
		return verb == "/load" || verb == "/unload"
	case version != "":
		path = strings.TrimPrefix(path, "/v2/models/"+model+"/versions/"+version)
	default:
		path = strings.TrimPrefix(path, "/v2/models/"+model)
	}
	return path == "" || path == "/ready" || path == "/infer" || path == "/stats" || path == "/config"
}

// modelOf finds the model in a path; ok is false if it is about none. Version ""
// is the one served.
func modelOf(path string) (model, version string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/models/")
	if !ok {
		if rest, ok = strings.CutPrefix(path, routeControl); !ok {
			return "", "", false
		}
	}
	parts := strings.Split(rest, "/")
	if len(parts) >= 3 && parts[1] == "versions" {
		version = parts[2]
	}
	return parts[0], version, parts[0] != ""
}

// edit puts the function's name to a request.
func (p *Proxy) edit(out *http.Request) {
	out.URL.RawPath = "" // what is sent is what was checked
	delete(out.Header, "Authorization")
	if token := p.token(); token != "" {
		out.Header.Set("Authorization", "Bearer "+token)
	}
	if deadline, ok := out.Context().Deadline(); ok {
		out.Header.Set(api.HeaderDeadline, time.Until(deadline).String())
	}
	if outer := outerOf(out); outer != nil {
		outer.Carry(out.Header)
	}
	if out.Body != nil {
		// A transport closes a body that it could not send; this one may be sent
		// again.
		out.Body = io.NopCloser(out.Body)
	}
}

// RoundTrip sends a request once the models are attached, again if it did not
// reach the cache manager.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	var wait waiting
	defer wait.stop()
	for {
		s := p.a.state.Load()
		if s == nil {
			var err error
			if s, err = p.a.attached(wait.context(r.Context(), p.a.Wait)); err != nil {
				return nil, err
			}
		}
		resp, err := p.transport.RoundTrip(r)
		if err == nil {
			return p.received(s, resp), nil
		}
		if !neverSent(err) || r.Context().Err() != nil || wait.over() {
			return nil, fmt.Errorf("%w: %w", api.ErrUnreachable, err)
		}
		p.a.lost(s, err)
	}
}

// received takes note of what an answer says about the cache manager.
func (p *Proxy) received(s *state, resp *http.Response) *http.Response {
	p.a.seen(s, resp.Header.Get(api.HeaderEpoch))
	recordOuter(resp)
	model, version, ok := modelOf(resp.Request.URL.Path)
	if !ok {
		return resp
	}
	if cache := resp.Header.Get(api.HeaderCache); cache != "" {
		p.a.metrics.inferred(model, cache)
	}
	if resp.StatusCode == http.StatusNotFound && p.a.has(model, version) {
		p.a.lost(s, fmt.Errorf("the cache manager does not know model %q", model))
	}
	return resp
}

// outerOf is the request to the function that r was made for, nil if there is
// none.
func outerOf(r *http.Request) *call.Call {
	if c := call.From(r.Context()); c != nil {
		return c.Outer
	}
	return nil
}

// recordOuter lets the request that an inference was made for tell its outcome.
func recordOuter(resp *http.Response) {
	h := resp.Header
	outer, cache := outerOf(resp.Request), h.Get(api.HeaderCache)
	if outer == nil || cache == "" {
		return
	}
	outer.Record(api.Info{
		Cache: cache, Device: h.Get(api.HeaderDevice), Engine: h.Get(api.HeaderEngine),
		Timing: api.ParseTiming(h.Get(api.HeaderTiming)),
	})
}

// inspect makes an honest "later" of "unknown": the model is the function's own,
// and is being offered again. The request's body is gone, so its sender must
// repeat it.
func (p *Proxy) inspect(resp *http.Response) error {
	model, version, ok := modelOf(resp.Request.URL.Path)
	if ok && resp.StatusCode == http.StatusNotFound && p.a.has(model, version) {
		return fmt.Errorf("%w: the cache manager did not know model %q, which is offered again", ErrUnavailable, model)
	}
	return nil
}

// fail answers as the cache manager would.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, message := http.StatusServiceUnavailable, err.Error()
	switch over := r.Context().Err(); {
	case over != nil && (errors.Is(over, context.DeadlineExceeded) || !errors.Is(err, forward.ErrBody)):
		return // the server around this one answers for the context
	case errors.Is(err, forward.ErrBody):
		status, message = whole.Broken(err)
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		status, message = e.Status, e.Message
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	text, err := json.Marshal(oip.ErrorBody{Error: message})
	if err != nil {
		text = []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client's loss
}
