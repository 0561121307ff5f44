package node

import (
	"log/slog"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// eachPart is what part of a listener's connections one process may have.
const eachPart = 4

// connections bounds those of one listener: each costs a file descriptor and some
// tens of kilobytes, and a process that takes them all would shut the others out.
type connections struct {
	most, mostEach int
	log            *slog.Logger

	mu     sync.Mutex
	peers  map[net.Conn]int32 // the process at the other end; 0: not known
	byPeer map[int32]int
}

func newConnections(most int, log *slog.Logger) *connections {
	return &connections{
		most: most, mostEach: max(1, most/eachPart), log: log,
		peers: make(map[net.Conn]int32), byPeer: make(map[int32]int),
	}
}

// changed is the hook http.Server.ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if peer := peerOf(conn); !c.add(conn, peer) {
			// Not louder: there may be many.
			c.log.Debug("connection refused: there are too many", "limit", c.most, "process", peer, "limit_of_a_process", c.mostEach)
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
}

// add counts a connection, if there may be one more.
func (c *connections) add(conn net.Conn, peer int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.peers) >= c.most || peer != 0 && c.byPeer[peer] >= c.mostEach {
		return false
	}
	c.peers[conn] = peer
	c.byPeer[peer]++
	return true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	peer, counted := c.peers[conn]
	if !counted {
		return
	}
	delete(c.peers, conn)
	if c.byPeer[peer]--; c.byPeer[peer] == 0 {
		delete(c.byPeer, peer)
	}
}

// peerOf is the process that made a connection to a Unix socket; 0 where it has
// no number here, because it is in a container or on another host.
func peerOf(conn net.Conn) int32 {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return 0
	}
	var peer int32
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			peer = cred.Pid
		}
	})
	return peer
}
