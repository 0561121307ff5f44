package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is what the kernel takes.
const maxSocketPath = 107

// socketMode is who may connect to the socket: everybody where tokens say who may
// do what, else only this user.
func (c Config) socketMode() fs.FileMode {
	if c.Auth == AuthNone {
		return 0o600
	}
	return 0o666
}

// open listens on an address: with the socket that a former run has left, or one that
// is made now.
func (n *Node) open(c Config, name, network, address string, listen func(network, address string) (net.Listener, error)) (net.Listener, error) {
	l, err := c.Sockets.take(name, network, address)
	if l == nil && err == nil {
		l, err = listen(network, address)
	}
	if err != nil {
		return nil, err
	}
	n.opened = append(n.opened, opened{name, address, l})
	return l, nil
}

// listenUnix makes a socket at a path. One that an earlier process left is replaced, one
// that somebody still answers on is not.
func (c Config) listenUnix(network, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket_dir: the path %s has %d bytes, a socket's has at most %d", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket_dir: %w", err)
	}
	if err := removeStale(network, path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, fmt.Errorf("socket_dir: %w", err)
	}
	// The next process may have made its own by the time this one ends.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, c.socketMode()); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket_dir: %w", err)
	}
	return l, nil
}

func removeStale(network, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket_dir: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("socket_dir: %s is there and is no socket", path)
	}
	conn, err := net.DialTimeout(network, path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("socket_dir: another process answers on %s", path)
	case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("socket_dir: another process may answer on %s: %w", path, err) // it may just be busy
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket_dir: %w", err)
	}
	return nil
}

// listenTCP listens on an address, with TLS where that leaves the host.
func (n *Node) listenTCP(c Config, name, address string) (net.Listener, error) {
	l, err := n.open(c, name, "tcp", address, net.Listen)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !c.secure(address) {
		return l, nil
	}
	settings, err := c.tlsConfig()
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, settings), nil
}

func (c Config) tlsConfig() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
	}
	settings := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		// No HTTP/2: there a handler's buffers may be read after its Write, and
		// ours are used for the next request.
		NextProtos: []string{"http/1.1"},
	}
	if c.TLSClientCA == "" {
		return settings, nil
	}
	text, err := os.ReadFile(c.TLSClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls_client_ca: %w", err)
	}
	settings.ClientCAs = x509.NewCertPool()
	if !settings.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls_client_ca: %s holds no certificate in PEM", c.TLSClientCA)
	}
	settings.ClientAuth = tls.RequireAndVerifyClientCert
	return settings, nil
}
