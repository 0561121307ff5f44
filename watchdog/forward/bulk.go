package forward

import (
	"context"
	"io"
	"net"
	"sync"
)

// Dial is http.Transport's DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// BulkDial makes connections that take large bodies in large pieces. Without it
// a transport copies a body to a Unix socket in pieces of 32 KiB, through a
// buffer that it allocates for each request.
func BulkDial(dial Dial) Dial {
	pool := &sync.Pool{New: func() any { return new([copySize]byte) }}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return bulkConn{c, pool}, nil
	}
}

type bulkConn struct {
	net.Conn
	pool *sync.Pool
}

// ReadFrom is what a transport calls for the part of a body that does not fit
// behind the request's header.
func (c bulkConn) ReadFrom(r io.Reader) (int64, error) {
	buf := c.pool.Get().(*[copySize]byte)
	defer c.pool.Put(buf)
	return io.CopyBuffer(onlyWriter{c.Conn}, r, buf[:])
}

// onlyWriter hides that a connection has a ReadFrom of its own.
type onlyWriter struct{ io.Writer }
