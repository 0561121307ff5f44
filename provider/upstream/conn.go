package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxHeader is how many bytes the head of a response may have.
const maxHeader = 1 << 20

// errHeader ends the reading of a head that is too long.
var errHeader = fmt.Errorf("%w: its header has more than %d bytes", ErrFailed, maxHeader)

// conn is a connection to a replica, used for one exchange at a time.
type conn struct {
	net.Conn
	address     string
	reader      *bufio.Reader // of the conn itself, see Read
	raw         syscall.RawConn
	timeout     time.Duration // between two reads, 0 is none
	header      int           // bytes of a head that may still come, -1: not in a head
	unusedSince time.Time

	peek  func(fd uintptr) bool // conn.peekOnce, made once
	fresh bool                  // result of peek
}

func newConn(raw net.Conn, address string, timeout time.Duration) (*conn, error) {
	c := &conn{Conn: raw, address: address, timeout: timeout, header: -1}
	sys, ok := raw.(syscall.Conn)
	if !ok {
		raw.Close()
		return nil, fmt.Errorf("%w: %T has no file descriptor", ErrNotSent, raw)
	}
	var err error
	if c.raw, err = sys.SyscallConn(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	c.reader = bufio.NewReaderSize(c, 4<<10)
	c.peek = c.peekOnce
	c.extend()
	return c, nil
}

// Read reads from the replica, with the limits of time and of a head's length.
func (c *conn) Read(p []byte) (int, error) {
	switch {
	case c.header < 0:
		c.extend() // the body has begun; the head's time runs from the request
	case c.header == 0:
		return 0, errHeader
	default:
		p = p[:min(len(p), c.header)]
	}
	n, err := c.Conn.Read(p)
	if c.header >= 0 {
		c.header -= n
	}
	return n, err
}

// extend gives the replica the whole timeout again to say something.
func (c *conn) extend() {
	if c.timeout > 0 {
		c.Conn.SetReadDeadline(time.Now().Add(c.timeout))
	}
}

// interrupt makes all reads and writes fail.
func (c *conn) interrupt() { c.Conn.Close() }

// alive reports whether an unused connection can be used: the other side has
// neither closed it nor said anything.
func (c *conn) alive() bool {
	c.fresh = false
	c.extend()
	if err := c.raw.Read(c.peek); err != nil {
		return false
	}
	return c.fresh
}

func (c *conn) peekOnce(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	c.fresh = errors.Is(err, unix.EAGAIN)
	return true // do not wait
}
