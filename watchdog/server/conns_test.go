package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that has closed its side of the connection before the answer must not
// take nothing for one.
func TestClientThatHasGoneGetsNoAnswer(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	conn.(*net.TCPConn).CloseWrite()
	if answer, err := io.ReadAll(conn); len(answer) > 0 || err != nil {
		t.Errorf("got %q, %v", answer, err)
	}
}

// A connection that a handler has taken counts until it is closed, also after the
// handler has returned.
func TestDrainWaitsForConnectionsThatWereTaken(t *testing.T) {
	taken := make(chan net.Conn, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- conn
	}, "write_timeout=1h")
	client, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	conn := <-taken
	f.stop()
	select {
	case <-f.stopped:
		t.Error("it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	conn.Close()
	<-f.stopped
}
