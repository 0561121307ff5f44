package node

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// Between two runs nobody is refused: who connects waits for the next one.
func TestSocketsGoToTheNextRun(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	c := s.config(e)
	c.Listen = "127.0.0.1:0"
	n := start(t, c)
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	address := n.Address("listen").String()
	sockets, err := n.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, n)

	environ, err := sockets.Environ([]string{"a=b", socketsVariable + "=former"})
	if err != nil {
		t.Fatal(err)
	}
	for key, fd := range sockets {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			t.Errorf("%s ends with exec, %v", key, err)
		}
	}
	if c.Sockets, err = InheritedSockets(environ); err != nil || len(c.Sockets) != 4 || environ[0] != "a=b" || len(environ) != 2 {
		t.Fatalf("%v, %v, from %q", c.Sockets, err, environ)
	}
	for network, address := range map[string]string{"tcp": address, shm.Network: filepath.Join(c.SocketDir, api.SocketShm)} {
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Errorf("nobody listens at %s: %v", address, err)
			continue
		}
		defer conn.Close()
	}
	answered := make(chan error)
	go func() { _, err := s.infer(alice, "a", []byte{1}); answered <- err }()
	again := start(t, c)
	defer shutdown(t, again)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if now := again.Address("listen").String(); now != address || len(c.Sockets) != 0 {
		t.Errorf("it listens at %s, want %s; %v are left", now, address, c.Sockets)
	}
}

// Sockets that are not asked for any more are closed, and those that nobody can find
// are made anew.
func TestSocketsThatAreOfNoUse(t *testing.T) {
	s := newSite(t)
	c := s.config(s.engine(t, "a"))
	c.Listen = "127.0.0.1:0"
	n := start(t, c)
	address := n.Address("listen").String()
	sockets, err := n.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, n)
	c.Listen, c.Sockets = Off, sockets
	if err := os.Remove(filepath.Join(c.SocketDir, api.SocketOIP)); err != nil {
		t.Fatal(err)
	}
	n = start(t, c)
	defer shutdown(t, n)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the address is off, and somebody listens there")
	}
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	if _, err := s.infer(alice, "a", []byte{1}); err != nil {
		t.Error(err)
	}
}

func TestInheritedSockets(t *testing.T) {
	if s, err := InheritedSockets([]string{"a=b"}); err != nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := InheritedSockets([]string{socketsVariable + "=nonsense"}); err == nil || !strings.Contains(err.Error(), socketsVariable) {
		t.Errorf("nonsense: %v", err)
	}
	c := Config{Sockets: Sockets{"listen 127.0.0.1:1": 1 << 20}} // no such descriptor
	n := &Node{}
	if _, err := n.open(c, "listen", "tcp", "127.0.0.1:1", net.Listen); err == nil || !strings.Contains(err.Error(), "the former socket") {
		t.Errorf("a descriptor that is not: %v", err)
	}
}
