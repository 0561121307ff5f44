package api

import (
	"io"
	"net"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// body is a message as the body of a request. Its tensors are written to the
// connection from where they lie, see conn.
type body struct {
	parts [][]byte // what is left to send
	sends *sync.WaitGroup
	once  sync.Once
}

// newBody returns a body of m. sends waits until the transport is done with it.
func newBody(m *oip.Message, sends *sync.WaitGroup) *body {
	sends.Add(1)
	return &body{parts: m.Parts(), sends: sends}
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.parts) > 0 && len(b.parts[0]) == 0 {
		b.parts = b.parts[1:]
	}
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.parts[0])
	b.parts[0] = b.parts[0][n:]
	return n, nil
}

// WriteTo writes what is left.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for ; len(b.parts) > 0; b.parts = b.parts[1:] {
		n, err := w.Write(b.parts[0])
		total += int64(n)
		if err != nil {
			b.parts[0] = b.parts[0][n:]
			return total, err
		}
	}
	return total, nil
}

// Close tells the sender that the buffers are its own again.
func (b *body) Close() error {
	b.once.Do(b.sends.Done)
	return nil
}

// conn is a connection that takes a body whole. Without it the transport copies
// a body to a Unix socket in pieces of 32 KiB, through a buffer that it allocates
// for each request.
type conn struct{ net.Conn }

// ReadFrom is what the transport calls for the part of a body that does not fit
// behind the header of the request.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if b, ok := limited.R.(*body); ok {
			n, err := b.WriteTo(c.Conn)
			limited.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}
