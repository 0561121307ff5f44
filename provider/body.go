package provider

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// body is a request's body on its way to a replica: whole, or as a stream.
type body struct {
	bytes  []byte
	stream *stream
	length int64 // of stream, negative if it is not known

	pool   *bodyPool
	pooled *[]byte
}

// release gives the memory back.
func (b *body) release() {
	if b.pooled != nil {
		b.pool.put(b.pooled)
		b.pooled, b.bytes = nil, nil
	}
}

// readBody reads r's body if it is small, so that its client is seen to leave
// and a slow one takes no replica's time. A large one, or one of unknown length,
// is left to be streamed. The client's side is at fault in every error.
func (p *Provider) readBody(w http.ResponseWriter, r *http.Request) (body, error) {
	l := p.cfg.Limits
	if r.ContentLength == 0 {
		return body{}, nil
	}
	if r.ContentLength > l.Body {
		return body{}, fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, r.ContentLength, l.Body)
	}
	if r.ContentLength > 0 && r.ContentLength <= l.Buffered {
		if pooled := p.bodies.get(int(r.ContentLength)); pooled != nil {
			b := body{bytes: (*pooled)[:r.ContentLength], pool: p.bodies, pooled: pooled}
			if err := readWhole(w, r, b.bytes, l.BodyTimeout); err != nil {
				b.release()
				return body{}, err
			}
			return b, nil
		}
	}
	rc := http.NewResponseController(w)
	// The replica may answer while the client still sends.
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return body{}, err
	}
	return body{length: r.ContentLength, stream: &stream{
		// Without w: it would set headers while the handler does.
		r:       http.MaxBytesReader(nil, r.Body, l.Body),
		timeout: l.BodyTimeout,
		rc:      rc,
	}}, nil
}

// readWhole fills b from r's body within a time.
func readWhole(w http.ResponseWriter, r *http.Request, b []byte, timeout time.Duration) error {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(timeout))
	if _, err := io.ReadFull(r.Body, b); err != nil {
		return bodyError(err, timeout)
	}
	rc.SetReadDeadline(time.Time{})
	return nil
}

func bodyError(err error, timeout time.Duration) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: the limit is %d bytes", errTooLarge, tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w (%v)", errSlowBody, timeout)
	}
	return fmt.Errorf("%w: %w", errShortBody, err)
}

// stream is a body that is read while it is sent on.
type stream struct {
	r       io.Reader
	timeout time.Duration
	rc      *http.ResponseController

	mu          sync.Mutex // guards the deadline, and what follows
	interrupted bool
	ended       bool // the client has sent everything
}

// whole reports whether all of it has come.
func (s *stream) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Read implements io.Reader. A client that sends nothing for a time, or too
// much, is an error.
func (s *stream) Read(b []byte) (int, error) {
	began := time.Now()
	s.mu.Lock()
	if !s.interrupted {
		s.rc.SetReadDeadline(began.Add(s.timeout))
	}
	s.mu.Unlock()
	n, err := s.r.Read(b)
	if err == nil {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.interrupted && errors.Is(err, os.ErrDeadlineExceeded) && time.Since(began) < s.timeout:
		return n, upstream.ErrInterrupted
	case errors.Is(err, io.EOF):
		s.ended = true
		s.rc.SetReadDeadline(time.Time{})
		return n, err
	}
	return n, bodyError(err, s.timeout)
}

// interrupt makes Read return, now and from now on.
func (s *stream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	s.rc.SetReadDeadline(time.Unix(1, 0))
}

// bodyPool lends memory for bodies, in powers of two, within a budget.
type bodyPool struct {
	budget int64
	used   atomic.Int64
	sizes  [64]sync.Pool // of *[]byte, by the logarithm of their size
}

// smallest is the logarithm of the smallest size lent.
const smallest = 12

func newBodyPool(budget int64) *bodyPool { return &bodyPool{budget: budget} }

// get lends n bytes or more, nil if the budget is spent.
func (p *bodyPool) get(n int) *[]byte {
	class := max(smallest, bits.Len(uint(n-1)))
	if p.used.Add(1<<class) > p.budget {
		p.used.Add(-1 << class)
		return nil
	}
	if b, ok := p.sizes[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 1<<class)
	return &b
}

func (p *bodyPool) put(b *[]byte) {
	class := bits.Len(uint(len(*b) - 1))
	p.used.Add(-1 << class)
	p.sizes[class].Put(b)
}
