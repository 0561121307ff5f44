package provider

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connKey is where a request's context has its connection.
type connKey struct{}

// ConnContext is for http.Server: it lets a request's connection be watched.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// watchEvery is how often a waiting client is looked at.
const watchEvery = 100 * time.Millisecond

// watchClient returns a context that ends when the client leaves. net/http
// notices that only once it has read the request's body; this asks the socket.
// It cannot see a client behind a full socket buffer, whose last words are still
// on its own side: such a request waits its whole time. Nothing is done for
// requests that do not wait. The caller must call stop.
func watchClient(ctx context.Context) (context.Context, context.CancelFunc) {
	conn, ok := ctx.Value(connKey{}).(syscall.Conn)
	if !ok {
		return ctx, func() {}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancel(ctx)
	var look func()
	look = func() {
		if watched.Err() != nil {
			return
		}
		if hasLeft(raw) {
			cancel()
			return
		}
		time.AfterFunc(watchEvery, look)
	}
	time.AfterFunc(watchEvery, look)
	return watched, cancel
}

// hasLeft reports whether the other side has closed the connection.
func hasLeft(raw syscall.RawConn) (left bool) {
	err := raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		left = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return left || err != nil
}
