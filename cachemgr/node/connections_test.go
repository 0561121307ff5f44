package node

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// ask makes one request on a connection, and reports whether it was answered.
func ask(t *testing.T, conn net.Conn, in *bufio.Reader) bool {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n") // if it is closed, reading tells
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

func TestOneProcessCannotHaveAllConnections(t *testing.T) {
	s := newSite(t)
	c := s.config(s.engine(t))
	c.MaxConnections = 4 * eachPart
	n := start(t, c)
	defer shutdown(t, n)
	path := filepath.Join(c.SocketDir, api.SocketOIP)
	open := func() (net.Conn, bool) {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn, ask(t, conn, bufio.NewReader(conn))
	}
	var first net.Conn
	for i := range 4 {
		conn, answered := open()
		if !answered {
			t.Fatalf("connection %d was not answered", i)
		}
		first = conn
	}
	if _, answered := open(); answered {
		t.Error("one process has more than its part of the connections")
	}
	first.Close()
	waitFor(t, func() bool { _, answered := open(); return answered })
}

func TestConnectionsAreCounted(t *testing.T) {
	c := newConnections(8, slog.New(slog.DiscardHandler))
	var conns []net.Conn
	add := func(peer int32) bool {
		conn, other := net.Pipe()
		t.Cleanup(func() { conn.Close(); other.Close() })
		conns = append(conns, conn)
		return c.add(conn, peer)
	}
	for i, want := range []bool{true, true, false} { // of one process
		if got := add(7); got != want {
			t.Errorf("connection %d of a process: %v", i, got)
		}
	}
	for i := range 7 { // of processes that are not known
		if got := add(0); got != (i < 6) {
			t.Errorf("connection %d of somebody: %v", i, got)
		}
	}
	if add(8) {
		t.Error("more connections than there may be")
	}
	for range 2 { // a second close changes nothing
		for _, conn := range conns {
			c.changed(conn, http.StateClosed)
		}
	}
	if len(c.peers) != 0 || len(c.byPeer) != 0 {
		t.Errorf("%d connections are counted at the end, of %v", len(c.peers), c.byPeer)
	}
}

// A process that is too busy to take a connection is there all the same.
func TestSocketOfABusyProcessIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	address := &unix.SockaddrUnix{Name: path}
	if err := errors.Join(unix.Bind(fd, address), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for { // fill its queue
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		if err := unix.Connect(c, address); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := removeStale("unix", path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error("the socket was taken away from it")
	}
}

// Without tokens the file system says who may use the socket.
func TestModeOfTheSocket(t *testing.T) {
	for auth, want := range map[string]os.FileMode{AuthToken: 0o666, AuthNone: 0o600} {
		s := newSite(t)
		c := s.config(s.engine(t))
		c.Auth = auth
		n := start(t, c)
		info, err := os.Stat(filepath.Join(c.SocketDir, api.SocketOIP))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("auth=%s: %v, %v, want %v", auth, info.Mode(), err, want)
		}
		shutdown(t, n)
	}
}
