package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// Who may write a response: the handler, until its time is over.
const (
	open     int32 = iota // nothing is written
	answered              // the handler writes
	timedOut              // the watchdog has written a 504
)

// response is the writer that a handler gets. The head goes out once, by whoever
// moves state away from open: the handler, with what its models did added, or
// the timeout. The handler has a header map of its own, so that it may still
// fill it while a 504 is sent.
type response struct {
	w      http.ResponseWriter
	call   *call.Call
	active *activeConns
	start  time.Time
	header http.Header
	state  atomic.Int32
	// informing keeps a 504 and a 1xx apart; it is held while the latter is written,
	// which the connection's deadline bounds.
	informing sync.Mutex
	code      int   // of the head, 0 before
	bytes     int64 // of the body
}

func newResponse(w http.ResponseWriter, c *call.Call, active *activeConns, start time.Time) *response {
	return &response{w: w, call: c, active: active, start: start, header: make(http.Header, 8)}
}

func (r *response) Header() http.Header { return r.header }

// WriteHeader sends the head, or one of the 1xx that may come before it.
func (r *response) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		r.inform(code)
		return
	}
	if !r.state.CompareAndSwap(open, answered) {
		return
	}
	r.code = code
	maps.Copy(r.w.Header(), r.header)
	r.writeOwnHeaders()
	r.w.WriteHeader(code)
}

func (r *response) inform(code int) {
	r.informing.Lock()
	defer r.informing.Unlock()
	if r.state.Load() != open {
		return
	}
	h := r.w.Header()
	maps.Copy(h, r.header)
	r.w.WriteHeader(code)
	clear(h)
}

// writeOwnHeaders adds what the watchdog has to say.
func (r *response) writeOwnHeaders() {
	h := r.w.Header()
	r.call.WriteHeaders(h)
	if r.call.ID != "" && h.Get(api.HeaderCallID) == "" {
		h.Set(api.HeaderCallID, r.call.ID)
	}
	h.Set("X-Duration-Seconds", strconv.FormatFloat(time.Since(r.start).Seconds(), 'f', 6, 64))
}

// claim sends the head if it is not sent yet; false when the time is over.
func (r *response) claim() bool {
	if r.state.Load() == open {
		r.WriteHeader(http.StatusOK)
	}
	return r.state.Load() == answered
}

func (r *response) Write(p []byte) (int, error) {
	if !r.claim() {
		return 0, http.ErrHandlerTimeout
	}
	n, err := r.w.Write(p)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom lets files go out without passing through this process.
func (r *response) ReadFrom(src io.Reader) (int64, error) {
	if !r.claim() {
		return 0, http.ErrHandlerTimeout
	}
	n, err := io.Copy(r.w, src)
	r.bytes += n
	return n, err
}

// Flush sends what is written so far.
func (r *response) Flush() {
	if r.claim() {
		// The error is that of the connection; the next Write has it too.
		_ = http.NewResponseController(r.w).Flush()
	}
}

// Hijack hands the connection to the handler, whose time limit it has no more.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !r.state.CompareAndSwap(open, answered) {
		return nil, nil, errors.New("hijack: the response has begun")
	}
	r.code = http.StatusSwitchingProtocols
	conn, buffered, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &upgradedConn{conn, r.active}, buffered, nil
}

// Unwrap gives http.ResponseController what is not said here: deadlines and full
// duplex.
func (r *response) Unwrap() http.ResponseWriter { return r.w }

// timeout answers 504 in the handler's place, if it has not begun to answer. The
// handler may still run; therefore the connection takes no other request.
func (r *response) timeout(limit time.Duration) {
	r.informing.Lock()
	mine := r.state.CompareAndSwap(open, timedOut)
	r.informing.Unlock()
	if !mine {
		return
	}
	// Without this, net/http would first read what the client still sends, and a
	// client that is slow to send may be the reason for the timeout.
	_ = http.NewResponseController(r.w).EnableFullDuplex()
	r.code = http.StatusGatewayTimeout
	h := r.w.Header()
	h.Set("Connection", "close")
	h.Set(headerInternal, internalWatchdog)
	r.writeOwnHeaders()
	text := "the function did not answer within " + limit.String() + "\n"
	writeText(r.w, http.StatusGatewayTimeout, text)
	r.bytes = int64(len(text))
	_ = http.NewResponseController(r.w).Flush()
}

// finish completes the response of a handler that has returned.
func (r *response) finish(ctx context.Context, limit time.Duration) {
	switch {
	case r.state.Load() == answered:
		r.copyTrailers()
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.timeout(limit)
	case ctx.Err() != nil:
		// The client has gone, or has closed its side only: then it must not take
		// what net/http sends on return for an answer.
		r.code = statusClientGone
		panic(http.ErrAbortHandler)
	default:
		r.claim()
	}
}

// copyTrailers takes over what the handler has set after the head.
func (r *response) copyTrailers() {
	announced := r.w.Header()["Trailer"]
	for name, values := range r.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			r.w.Header()[name] = values
		}
	}
	for _, list := range announced {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := r.header[name]; ok {
				r.w.Header()[name] = values
			}
		}
	}
}

func writeText(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the client's loss
}
