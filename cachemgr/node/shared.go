package node

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/server/region"
)

// sharing is the socket where functions hand over their memory.
type sharing struct {
	listener net.Listener
	server   *region.Server
}

// listenShared makes the socket, beside that of the protocol.
func (n *Node) listenShared(c Config) error {
	l, err := n.open(c, "shm", shm.Network, filepath.Join(c.SocketDir, api.SocketShm), c.listenUnix)
	if err != nil {
		return err
	}
	conns := newConnections(cmp.Or(c.MaxConnections, defaultConnections), c.Log)
	admit := func(conn net.Conn) bool { return conns.add(conn, peerOf(conn)) }
	n.shared = &sharing{l, n.server.SharedMemoryServer(admit, conns.remove)}
	return nil
}

// serve takes connections until close.
func (s *sharing) serve(failed chan<- error) {
	if err := s.server.Serve(s.listener); err != nil {
		select {
		case failed <- fmt.Errorf("shared memory: %w", err):
		default: // one failure is enough to end the node
		}
	}
}

// close ends all connections. Requests keep the memory that they use.
func (s *sharing) close() {
	if s != nil {
		s.server.Close()
		_ = s.listener.Close()
	}
}
