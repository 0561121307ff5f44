package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// speaker listens and lets each connection be handled by h, which gets its
// number.
func speaker(t testing.TB, h func(n int, c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				h(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// says answers every request on a connection with the same bytes, then closes it
// if hangUp.
func says(answer string, hangUp bool) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, answer)
			if hangUp {
				return
			}
		}
	}
}

func client(t testing.TB, change func(*Config)) *Client {
	cfg := Config{DialTimeout: time.Second, Timeout: 5 * time.Second, IdleTimeout: time.Minute, MaxIdle: 2}
	if change != nil {
		change(&cfg)
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func get(path string) *Request { return &Request{Method: "GET", Target: path} }
