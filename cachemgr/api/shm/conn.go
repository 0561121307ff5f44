package shm

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// patience is how long the cache manager may take for an answer. It pins memory
// for a device then, which takes milliseconds.
const patience = 2 * time.Second

// Conn is a connection to a cache manager, and the owner of the regions that were
// registered over it. Its methods may be called at the same time.
type Conn struct {
	epoch string

	mu   sync.Mutex // one exchange at a time
	conn *net.UnixConn
}

// Dial connects to the socket at path, as the owner of a token.
func Dial(ctx context.Context, path, token string) (*Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	c, err := dialer.DialContext(ctx, Network, path)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", api.ErrUnreachable, path, err)
	}
	conn := &Conn{conn: c.(*net.UnixConn)}
	reply, err := conn.exchange(Request{Op: OpHello, Token: token}, nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	conn.epoch = reply.Epoch
	return conn, nil
}

// Epoch names the run of the cache manager that this is a connection to.
func (c *Conn) Epoch() string { return c.epoch }

// Register hands memory over; the name of its region is for requests. Errors:
// *api.Error, api.ErrUnreachable.
func (c *Conn) Register(m *Memory) (region string, err error) {
	reply, err := c.exchange(Request{Op: OpRegister}, unix.UnixRights(int(m.file.Fd())))
	runtime.KeepAlive(m)
	return reply.Region, err
}

// Unregister ends a region; requests under way keep it until they are done.
func (c *Conn) Unregister(region string) error {
	_, err := c.exchange(Request{Op: OpUnregister, Region: region}, nil)
	return err
}

// Close ends the connection and with it all its regions.
func (c *Conn) Close() error { return c.conn.Close() }

// exchange sends a packet and waits for the answer.
func (c *Conn) exchange(r Request, rights []byte) (Reply, error) {
	packet, err := json.Marshal(r)
	if err != nil {
		return Reply{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return Reply{}, c.failed(err)
	}
	if _, _, err := c.conn.WriteMsgUnix(packet, rights, nil); err != nil {
		return Reply{}, c.failed(err)
	}
	answer := make([]byte, MaxMessage)
	n, err := c.conn.Read(answer)
	if err != nil {
		return Reply{}, c.failed(err)
	}
	var reply Reply
	if err := json.Unmarshal(answer[:n], &reply); err != nil {
		return Reply{}, c.failed(err)
	}
	if reply.Error != "" {
		return Reply{}, &api.Error{Status: reply.Status, Message: reply.Error}
	}
	return reply, nil
}

// failed ends a connection whose state is not known any more.
func (c *Conn) failed(err error) error {
	c.conn.Close()
	return fmt.Errorf("%w on shared memory: %w", api.ErrUnreachable, err)
}
