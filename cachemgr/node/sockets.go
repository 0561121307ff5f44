package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketsVariable tells the next run of a program in the same process which listening
// sockets it has.
const socketsVariable = "FAAS_GPU_SOCKETS"

// Sockets are descriptors of listening sockets, by what they are for and the address
// that was asked for. Through them the next run of a program in the same process listens
// without a moment in which nobody does: who connects meanwhile waits.
type Sockets map[string]int

func socketKey(name, address string) string { return name + " " + address }

// InheritedSockets are those that the former run has left; nil if there was none.
func InheritedSockets(environ []string) (Sockets, error) {
	var s Sockets
	for _, v := range environ {
		text, is := strings.CutPrefix(v, socketsVariable+"=")
		if !is {
			continue
		}
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return nil, fmt.Errorf("%s: %w", socketsVariable, err)
		}
	}
	for _, fd := range s {
		unix.CloseOnExec(fd)
	}
	return s, nil
}

// Environ lets the sockets outlive the next exec of this process, and is the
// environment of what is executed.
func (s Sockets) Environ(environ []string) ([]string, error) {
	for key, fd := range s {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return nil, fmt.Errorf("keep the socket %s: %w", key, err)
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, v := range environ {
		if !strings.HasPrefix(v, socketsVariable+"=") {
			others = append(others, v)
		}
	}
	return append(others, socketsVariable+"="+string(text)), nil
}

// add keeps a listener's socket open, beyond the listener's end.
func (s Sockets) add(name, address string, l net.Listener) error {
	conn, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var dup error
	// Not File: that would make the socket block, for the listener too.
	err = raw.Control(func(fd uintptr) {
		var n int
		if n, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); dup == nil {
			s[socketKey(name, address)] = n
		}
	})
	return errors.Join(err, dup)
}

// take is the listener on an address, nil if there is none.
func (s Sockets) take(name, network, address string) (net.Listener, error) {
	fd, ok := s[socketKey(name, address)]
	if !ok {
		return nil, nil
	}
	delete(s, socketKey(name, address))
	f := os.NewFile(uintptr(fd), address)
	defer f.Close()
	if network != "tcp" {
		if _, err := os.Lstat(address); errors.Is(err, fs.ErrNotExist) {
			return nil, nil // nobody finds it any more
		}
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the former socket at %s: %w", address, err)
	}
	return l, nil
}

// Close closes those that nobody has taken.
func (s Sockets) Close() {
	for key, fd := range s {
		_ = unix.Close(fd)
		delete(s, key)
	}
}

// Sockets are those that the node listens on, for another run of the program. They
// stay open after Shutdown; what connects then waits for the next run.
func (n *Node) Sockets() (Sockets, error) {
	s := Sockets{}
	for _, o := range n.opened {
		if err := s.add(o.name, o.address, o.listener); err != nil {
			s.Close()
			return nil, fmt.Errorf("keep the socket at %s: %w", o.address, err)
		}
	}
	return s, nil
}

// opened is a listener with what was asked for, without TLS.
type opened struct {
	name, address string
	listener      net.Listener
}
