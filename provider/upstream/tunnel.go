package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// tunnelBuffer is how much is copied at once through a tunnel, in bytes: there
// may be many that are idle.
const tunnelBuffer = 16 << 10

// UpgradeOf is the protocol that a request asks to go on with, as a WebSocket
// does, or "". One with a body is not taken for such a request.
func UpgradeOf(r *http.Request) string {
	if r.ContentLength != 0 || !hasToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	return r.Header.Get("Upgrade")
}

func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for part := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(part), token) {
				return true
			}
		}
	}
	return false
}

// switched checks that a replica which goes on with another protocol was asked
// for that one.
func (r *Request) switched(response *http.Response) error {
	if to := response.Header.Get("Upgrade"); r.Upgrade == "" || !strings.EqualFold(to, r.Upgrade) {
		return fmt.Errorf("%w: it switched to protocol %q, it was asked for %q", ErrFailed, to, r.Upgrade)
	}
	return nil
}

// Tunnel joins a client's connection with that of the replica, after the replica
// has switched protocols. early is what the client had sent already. It returns
// when both sides have ended, when one of them has failed, or when nothing was
// said for idle; both connections are closed then.
func (r *Response) Tunnel(client net.Conn, early *bufio.Reader, idle time.Duration) {
	// The request's context ends already when its client has no more to say.
	r.x.stop()
	replica := r.x.conn
	replica.timeout = 0
	replica.SetDeadline(time.Time{})
	t := &tunnel{idle: idle, ends: [2]net.Conn{client, replica.Conn}}
	t.timer = time.AfterFunc(idle, t.close)
	defer t.close()
	defer t.timer.Stop()
	var toReplica sync.WaitGroup
	toReplica.Go(func() { t.copy(replica.Conn, early) })
	t.copy(client, replica.reader)
	toReplica.Wait()
}

// tunnel is two connections that are joined.
type tunnel struct {
	ends  [2]net.Conn
	idle  time.Duration
	timer *time.Timer // closes both
}

func (t *tunnel) close() {
	for _, end := range t.ends {
		end.Close()
	}
}

// copy copies one way. The end of src is passed on as such: dst may have more to
// say.
func (t *tunnel) copy(dst net.Conn, src io.Reader) {
	buffer := make([]byte, tunnelBuffer)
	for {
		n, err := src.Read(buffer)
		if n > 0 {
			t.timer.Reset(t.idle)
			if _, err := dst.Write(buffer[:n]); err != nil {
				t.close()
				return
			}
			t.timer.Reset(t.idle) // a slow reader is not idle
		}
		if err == nil {
			continue
		}
		half, ok := dst.(interface{ CloseWrite() error })
		if !errors.Is(err, io.EOF) || !ok || half.CloseWrite() != nil {
			t.close()
		}
		return
	}
}
