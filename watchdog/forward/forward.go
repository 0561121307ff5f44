// Package forward passes requests on to an HTTP server behind the watchdog:
// streaming both ways, every byte as soon as it is there.
package forward

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// copySize is how much of a body is copied at once, in bytes.
const copySize = 64 << 10

// ErrBody: the client's side of a request broke off, or was too slow.
var ErrBody = errors.New("the request's body")

// Options say where to and how.
type Options struct {
	Target    *url.URL // its path goes before the request's
	Transport http.RoundTripper
	// Edit, if not nil, changes the request that is sent on.
	Edit func(out *http.Request)
	// Inspect, if not nil, sees every response before it goes out, and may change
	// it.
	Inspect func(*http.Response) error
	// UpgradeIdle is the longest silence on a connection that was upgraded.
	UpgradeIdle time.Duration
	// Fail answers when there is no response. A request whose context has ended
	// needs no answer of it, unless the error has ErrBody in it: then its client may
	// still read why.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// Handler passes requests on. When the server behind dies in the middle of a
// body, the client's connection is aborted too.
type Handler struct{ proxy *httputil.ReverseProxy }

// New makes a handler.
func New(o Options) *Handler {
	return &Handler{&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { rewrite(p, o) },
		Transport:      o.Transport,
		BufferPool:     &Buffers{},
		ModifyResponse: o.inspect,
		ErrorHandler:   o.fail,
		ErrorLog:       log.New(io.Discard, "", 0), // Fail and the aborted connection tell
	}}
}

// ServeHTTP passes one request on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, r = Duplex(w, r)
	r, end := withUpgrade(r)
	defer end()
	h.proxy.ServeHTTP(w, r)
}

// fail tells apart whose fault it is: to net/http a client whose body breaks off
// is one that has gone.
func (o Options) fail(w http.ResponseWriter, r *http.Request, err error) {
	if out, ok := w.(*eager); ok && out.body != nil {
		if broken := out.body.broken.Load(); broken != nil {
			err = fmt.Errorf("%w: %w", ErrBody, *broken)
		}
	}
	o.Fail(w, r, err)
}

func (o Options) inspect(resp *http.Response) error {
	if err := upgraded(resp, o.UpgradeIdle); err != nil || o.Inspect == nil {
		return err
	}
	return o.Inspect(resp)
}

// Duplex lets a response begin while the request's body is still being read. The
// head must be written by WriteHeader.
func Duplex(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	out := &eager{ResponseWriter: w}
	if r.ContentLength != 0 {
		// Otherwise net/http reads the whole request before the first byte of the
		// response goes out. Where it is not possible, that is how it is.
		_ = http.NewResponseController(w).EnableFullDuplex()
		out.body = &incoming{ReadCloser: r.Body}
		r = r.WithContext(r.Context()) // the caller's stays as it is
		r.Body = out.body
	}
	return out, r
}

// incoming is a request's body, and whether it has come to its end, or why not.
type incoming struct {
	io.ReadCloser
	ended  atomic.Bool
	broken atomic.Pointer[error]
}

func (b *incoming) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil && !errors.Is(err, http.ErrBodyReadAfterClose):
		b.broken.Store(&err)
	}
	return n, err
}

// forwarded are the headers that a reverse proxy drops for safety. Here the
// caller is the provider, whose word counts.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

func rewrite(p *httputil.ProxyRequest, o Options) {
	p.SetURL(o.Target)
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it came, also where it cannot be parsed
	p.Out.Host = p.In.Host
	for _, name := range forwarded {
		if v, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = v
		}
	}
	if o.Edit != nil {
		o.Edit(p.Out)
	}
}

// eager flushes a body of known length while more of it is to come. Those of
// unknown length are flushed by the reverse proxy, and the end of every response
// by net/http.
type eager struct {
	http.ResponseWriter
	body *incoming // nil: none
	left int64
}

func (e *eager) WriteHeader(code int) {
	if code >= 200 {
		e.left = contentLength(e.Header())
		if e.body != nil && !e.body.ended.Load() {
			// net/http would take what is still to come of the body for the next
			// request, once it has given up to wait for it.
			e.Header().Set("Connection", "close")
		}
	}
	e.ResponseWriter.WriteHeader(code)
}

func (e *eager) Write(p []byte) (int, error) {
	n, err := e.ResponseWriter.Write(p)
	e.left -= int64(n)
	if err == nil && e.left > 0 {
		err = http.NewResponseController(e.ResponseWriter).Flush()
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (e *eager) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func contentLength(h http.Header) int64 {
	var n int64
	for _, c := range []byte(h.Get("Content-Length")) {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// Buffers are for copying bodies. The zero value is ready.
type Buffers struct{ pool sync.Pool }

// Get lends one.
func (b *Buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[copySize]byte); ok {
		return p[:]
	}
	return new([copySize]byte)[:]
}

// Put takes one back that Get has lent, at its full length.
func (b *Buffers) Put(p []byte) { b.pool.Put((*[copySize]byte)(p)) }
