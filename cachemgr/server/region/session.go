package region

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// maxRights is room for as many descriptors as the kernel lets one packet carry:
// what did not fit would be lost, and not closed.
const maxRights = 2 << 10

// session is one connection.
type session struct {
	server  *Server
	conn    *net.UnixConn
	regions map[string]*Region

	// Written once, by the session itself under server.mu.
	owner   Owner
	greeted bool
}

// run answers until the client leaves or breaks the protocol.
func (s *session) run() error {
	defer s.dropAll()
	if err := s.conn.SetReadDeadline(time.Now().Add(s.server.Patience)); err != nil {
		return err
	}
	packet := make([]byte, shm.MaxMessage+1)
	rights := make([]byte, maxRights)
	for {
		reply, err := s.next(packet, rights)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if s.greeted && errors.Is(err, os.ErrDeadlineExceeded) {
			return errExpired
		}
		if err != nil {
			reply = shm.Reply{Error: err.Error(), Status: httpStatus(err)}
		}
		if sent := s.send(reply); sent != nil {
			return sent
		}
		if err != nil && !goesOn(err) {
			return err
		}
	}
}

// errOrder: hello is not the first message, or not the only one.
var errOrder = fmt.Errorf("%w: hello comes first, once", shm.ErrMalformed)

// errToken: hello had no good token.
var errToken = errors.New("unauthorized")

// errExpired: the token has; the client comes again with its next one.
var errExpired = errors.New("its token has expired")

// next receives one request and does what it asks for.
func (s *session) next(packet, rights []byte) (shm.Reply, error) {
	r, fd, err := s.receive(packet, rights)
	if err != nil {
		return shm.Reply{}, err
	}
	if fd >= 0 {
		defer unix.Close(fd)
	}
	if (r.Op == shm.OpHello) == s.greeted {
		return shm.Reply{}, errOrder
	}
	switch r.Op {
	case shm.OpHello:
		return shm.Reply{Epoch: s.server.Epoch}, s.server.greet(s, r.Token)
	case shm.OpRegister:
		region, err := s.server.Pool.Add(s.owner.Function, fd)
		if err != nil {
			return shm.Reply{}, err
		}
		s.regions[region.Name()] = region
		return shm.Reply{Region: region.Name(), Size: region.Size()}, nil
	}
	region := s.regions[r.Region]
	if region == nil {
		return shm.Reply{}, fmt.Errorf("%w %.80q: this connection has not registered it", ErrUnknown, r.Region)
	}
	delete(s.regions, r.Region)
	return shm.Reply{}, s.server.Pool.Remove(region)
}

// receive reads one packet; fd is its descriptor, -1 if it has none.
func (s *session) receive(packet, rights []byte) (r shm.Request, fd int, err error) {
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(packet, rights)
	if err != nil {
		return shm.Request{}, -1, err
	}
	fds := descriptors(rights[:oobn])
	switch {
	case flags&unix.MSG_TRUNC != 0 || n > shm.MaxMessage:
		err = fmt.Errorf("%w: it is longer than %d bytes", shm.ErrMalformed, shm.MaxMessage)
	case flags&unix.MSG_CTRUNC != 0:
		err = fmt.Errorf("%w: not all of its descriptors could be taken", shm.ErrMalformed)
	default:
		r, err = shm.ParseRequest(packet[:n], len(fds))
	}
	if err == nil && len(fds) == 1 {
		return r, fds[0], nil
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return r, -1, err
}

// descriptors are those that came with a packet.
func descriptors(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil // the kernel writes it
	}
	var fds []int
	for i := range messages {
		if some, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

func (s *session) send(reply shm.Reply) error {
	packet, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.server.Patience)); err != nil {
		return err
	}
	_, err = s.conn.Write(packet)
	return err
}

// dropAll ends the regions with their connection.
func (s *session) dropAll() {
	for _, r := range s.regions {
		_ = s.server.Pool.Remove(r) // only this session removes them
	}
}

// goesOn reports whether an error is about one request only, so that the
// connection and its regions stay.
func goesOn(err error) bool {
	_, broken := errors.AsType[*net.OpError](err)
	return !broken && !errors.Is(err, shm.ErrMalformed) && !errors.Is(err, errToken)
}

// httpStatus is what an error would be over HTTP.
func httpStatus(err error) int {
	switch {
	case errors.Is(err, errToken):
		return http.StatusUnauthorized
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrQuota):
		return http.StatusInsufficientStorage
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, shm.ErrMalformed), errors.Is(err, shm.ErrUnsuitable):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
