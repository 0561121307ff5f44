package region

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

func TestUnsuitableMemoryIsRefused(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	raw := s.raw()
	raw.exchange(`{"op":"hello","token":"alice"}`)
	fd, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	if reply := raw.exchange(`{"op":"register"}`, fd); reply.Status != 400 || !strings.Contains(reply.Error, "F_SEAL_SHRINK") {
		t.Errorf("without seals: %+v", reply)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	if reply := raw.exchange(`{"op":"register"}`, fd); reply.Region == "" || reply.Size != 4096 {
		t.Errorf("with seals, over the same connection: %+v", reply)
	}
}

// rawConn sends what a client that works would not.
type rawConn struct {
	*site
	*net.UnixConn
}

func (s *site) raw() rawConn {
	s.Helper()
	c, err := net.Dial(shm.Network, s.socket)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return rawConn{s, c.(*net.UnixConn)}
}

func (c rawConn) exchange(packet string, fds ...int) (reply shm.Reply) {
	c.site.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, _, err := c.WriteMsgUnix([]byte(packet), rights, nil); err != nil {
		c.Fatalf("%.40q: %v", packet, err)
	}
	return c.reply()
}

func (c rawConn) reply() (reply shm.Reply) {
	c.site.Helper()
	answer := make([]byte, shm.MaxMessage)
	n, err := c.Read(answer)
	if err != nil {
		c.Fatal(err)
	}
	if err := json.Unmarshal(answer[:n], &reply); err != nil {
		c.Fatalf("answered %q", answer[:n])
	}
	return reply
}

// ended checks that the server has closed the connection.
func (c rawConn) ended() {
	c.site.Helper()
	if n, err := c.Read(make([]byte, 100)); err == nil {
		c.Errorf("the connection is still open, and %d bytes came", n)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestBadMessages(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	before := openFiles(t)
	many := make([]int, 253)
	hello := `{"op":"hello","token":"alice"}`
	for name, tt := range map[string]struct {
		packets []string
		fds     []int
		status  int
		want    string
	}{
		"no JSON":          {[]string{"nonsense"}, nil, 400, "not the JSON expected"},
		"no hello":         {[]string{`{"op":"register"}`}, []int{0}, 400, "hello comes first"},
		"hello twice":      {[]string{hello, hello}, nil, 400, "hello comes first, once"},
		"no token":         {[]string{`{"op":"hello"}`}, nil, 401, "no token"},
		"no descriptor":    {[]string{hello, `{"op":"register"}`}, nil, 400, "with 1 descriptors, not with 0"},
		"two descriptors":  {[]string{hello, `{"op":"register"}`}, []int{0, 0}, 400, "with 1 descriptors, not with 2"},
		"many descriptors": {[]string{hello, `{"op":"register"}`}, many, 400, "not with 253"},
		"too long":         {[]string{`{"op":"hello","token":"` + strings.Repeat("t", shm.MaxMessage) + `"}`}, []int{0}, 400, "longer than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			c := s.raw()
			last := len(tt.packets) - 1
			for _, p := range tt.packets[:last] {
				if reply := c.exchange(p); reply.Error != "" {
					t.Fatal(reply.Error)
				}
			}
			reply := c.exchange(tt.packets[last], tt.fds...)
			if reply.Status != tt.status || !strings.Contains(reply.Error, tt.want) {
				t.Errorf("answered %+v, want %d with %q", reply, tt.status, tt.want)
			}
			c.ended()
		})
	}
	s.T = t
	s.until("all descriptors to be closed", func() bool { return openFiles(t) <= before })
}

func TestClientThatSaysNothing(t *testing.T) {
	s := serve(t, roomy, 20*time.Millisecond)
	c := s.raw()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if reply := c.reply(); reply.Status != 408 {
		t.Errorf("answered %+v", reply)
	}
	c.ended()

	// Once it has said who it is, it may be silent.
	c = s.raw()
	c.exchange(`{"op":"hello","token":"alice"}`)
	time.Sleep(60 * time.Millisecond)
	if reply := c.exchange(`{"op":"unregister","region":"r"}`); reply.Status != 404 {
		t.Errorf("answered %+v", reply)
	}
}

func TestClientThatTakesNoAnswer(t *testing.T) {
	s := serve(t, roomy, 20*time.Millisecond)
	c := s.raw()
	c.exchange(`{"op":"hello","token":"alice"}`)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	var err error
	for err == nil { // until the server has had enough
		_, err = c.Write([]byte(`{"op":"unregister","region":"r"}`))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server still waits for its answers to be taken")
	}
}

func TestTooManyConnections(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	s.refuse.Store(true)
	c, err := shm.Dial(t.Context(), s.socket, "alice")
	if err == nil {
		c.Close()
		t.Fatal("it is let in")
	}
	if !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("the error is %v", err)
	}
}

// What comes in is a stranger's: whatever it is, the others are served.
func TestRandomPackets(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	before := openFiles(t)
	pieces := []string{`{"op":"`, "hello", "register", "unregister", `"`, `,"token":"t"`, `,"region":"r"`, "}", "{", "\x00", " "}
	for range 300 {
		c := s.raw()
		if random.IntN(2) == 0 {
			c.exchange(`{"op":"hello","token":"mallory"}`)
		}
		packet := ""
		for range 1 + random.IntN(8) {
			packet += pieces[random.IntN(len(pieces))]
		}
		c.exchange(packet, make([]int, random.IntN(3))...)
		c.UnixConn.Close()
	}
	if _, err := s.dial("alice").Register(s.memory(4096)); err != nil {
		t.Error(err)
	}
	s.until("all descriptors to be closed", func() bool { return openFiles(t) <= before+3 }) // alice's
}
