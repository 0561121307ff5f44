package region

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func function(name string) api.FunctionRef { return api.FunctionRef{Name: name, Namespace: "ns"} }

// site is a server at a socket; a token is the name of a function.
type site struct {
	*testing.T
	*Server
	socket string
	refuse atomic.Bool // connections
}

func serve(t *testing.T, c Config, patience time.Duration) *site {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	s := &site{T: t, socket: filepath.Join(t.TempDir(), "shm.sock")}
	s.Server = &Server{
		Pool: NewPool(c), Epoch: "e", Log: c.Log, Patience: patience,
		Owner: func(token string) (api.FunctionRef, error) {
			if token == "" {
				return api.FunctionRef{}, errors.New("no token")
			}
			return function(token), nil
		},
		Admit: func(net.Conn) bool { return !s.refuse.Load() },
		Left:  func(net.Conn) {},
	}
	l, err := net.Listen(shm.Network, s.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		l.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n, bytes := s.Pool.Usage(); n != 0 || bytes != 0 || len(s.Pool.byFunction) != 0 {
			t.Errorf("%d regions of %d bytes are left, of %v", n, bytes, s.Pool.byFunction)
		}
	})
	return s
}

func (s *site) dial(token string) *shm.Conn {
	s.Helper()
	c, err := shm.Dial(s.Context(), s.socket, token)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c
}

func (s *site) memory(size int64) *shm.Memory {
	s.Helper()
	m, err := shm.New(size)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { m.Close() })
	return m
}

// until polls what a connection's end leads to.
func (s *site) until(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("still waiting for %s", what)
		}
	}
}

func (s *site) empty() bool {
	n, bytes := s.Pool.Usage()
	return n == 0 && bytes == 0
}

var roomy = Config{Total: 1 << 30, Each: 1 << 30}

func status(err error) int {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestRegionsOfTwoFunctions(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	alice, bob := s.dial("alice"), s.dial("bob")
	if alice.Epoch() != "e" {
		t.Errorf("the epoch is %q", alice.Epoch())
	}
	m := s.memory(10000)
	name, err := alice.Register(m)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Data[4096:], "hello")
	r, err := s.Pool.Use(function("alice"), name)
	if err != nil {
		t.Fatal(err)
	}
	part, err := r.Slice(4096, 5)
	if err != nil || string(part) != "hello" || cap(part) != 5 {
		t.Fatalf("the region holds %q, %v", part, err)
	}
	copy(part, "HELLO")
	if string(m.Data[4096:4101]) != "HELLO" {
		t.Error("the function does not see what was written")
	}
	if _, err := s.Pool.Use(function("bob"), name); !errors.Is(err, ErrUnknown) {
		t.Errorf("another function gets %v", err)
	}
	if err := bob.Unregister(name); status(err) != 404 {
		t.Errorf("another function unregisters it: %v", err)
	}
	if list := s.Pool.List(function("alice")); len(list) != 1 || list[0] != (Info{name, 10000}) {
		t.Errorf("the list is %v", list)
	}
	if list := s.Pool.List(function("bob")); len(list) != 0 {
		t.Errorf("another function's list is %v", list)
	}
	if err := alice.Unregister(name); err != nil {
		t.Error(err)
	}
	if err := alice.Unregister(name); status(err) != 404 {
		t.Errorf("unregistered twice: %v", err)
	}
	if _, err := s.Pool.Use(function("alice"), name); !errors.Is(err, ErrUnknown) {
		t.Errorf("after its end: %v", err)
	}
	if string(part) != "HELLO" || s.empty() {
		t.Error("a request has lost its region")
	}
	r.Release()
	if !s.empty() {
		t.Error("the region is still there")
	}
}

func TestSlice(t *testing.T) {
	r := &Region{name: "r", data: make([]byte, 100)}
	const most = 1<<63 - 1
	for _, tt := range []struct {
		offset, size int64
		ok           bool
	}{
		{0, 100, true}, {100, 0, true}, {99, 1, true}, {0, 0, true}, {1, 100, false}, {101, 0, false},
		{0, 101, false}, {most, 1, false}, {1, most, false}, {most, most, false},
	} {
		if data, err := r.Slice(tt.offset, tt.size); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRange) || err == nil && data == nil {
			t.Errorf("%d bytes from %d on: %v, %v", tt.size, tt.offset, data, err)
		}
	}
}

func TestRegionsEndWithTheirConnection(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	c := s.dial("alice")
	names := make([]string, 3000)
	for i := range names {
		m, err := shm.New(4096)
		if err != nil {
			t.Fatal(err)
		}
		m.Data[0] = byte(i)
		names[i], err = c.Register(m)
		m.Close()
		if err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
	}
	var held []*Region
	for i := 0; i < len(names); i += 100 {
		r, err := s.Pool.Use(function("alice"), names[i])
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	c.Close()
	s.until("the names to go", func() bool { n, _ := s.Pool.Usage(); return n == 0 })
	for i, r := range held {
		if data, err := r.Slice(0, 1); err != nil || data[0] != byte(100*i) {
			t.Errorf("a request reads %v, %v", data, err)
		}
		r.Release()
	}
	s.until("the bytes to go", s.empty)
}

func TestQuotas(t *testing.T) {
	s := serve(t, Config{Total: 300 << 10, Each: 200 << 10}, time.Minute)
	alice, bob := s.dial("alice"), s.dial("bob")
	first, err := alice.Register(s.memory(130 << 10))
	if err != nil {
		t.Fatal(err)
	}
	// Another replica of it shares its quota.
	if _, err := s.dial("alice").Register(s.memory(80 << 10)); status(err) != 507 || !strings.Contains(err.Error(), "this function has 133120 bytes") {
		t.Errorf("more than a function may have: %v", err)
	}
	if _, err := bob.Register(s.memory(180 << 10)); status(err) != 507 || !strings.Contains(err.Error(), "all functions have 133120 bytes") {
		t.Errorf("more than all may have: %v", err)
	}
	for range 2 { // one byte counts like 64 KiB
		if _, err := bob.Register(s.memory(1)); err != nil {
			t.Error(err)
		}
	}
	if _, err := bob.Register(s.memory(1)); status(err) != 507 {
		t.Errorf("too many small ones: %v", err)
	}
	// A refusal costs nothing that was there, and what is given back can be had.
	if err := alice.Unregister(first); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Register(s.memory(150 << 10)); err != nil {
		t.Error(err)
	}
}

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

// pins counts what is pinned.
type pins struct {
	mu   sync.Mutex
	held map[*byte]int
	err  error
}

func (p *pins) Pin(b []byte) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	p.held[&b[0]] = len(b)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		b[0]++ // it is still mapped
		delete(p.held, &b[0])
	}, nil
}

func (p *pins) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

func TestRegionsArePinnedOnce(t *testing.T) {
	p := &pins{held: map[*byte]int{}}
	s := serve(t, Config{Total: 1 << 20, Each: 1 << 20, Pinner: p}, time.Minute)
	c := s.dial("alice")
	name, err := c.Register(s.memory(5000))
	if err != nil || p.count() != 1 {
		t.Fatalf("%d regions are pinned, %v", p.count(), err)
	}
	r, err := s.Pool.Use(function("alice"), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unregister(name); err != nil || p.count() != 1 {
		t.Errorf("while a request uses it %d are pinned, %v", p.count(), err)
	}
	r.Release()
	if p.count() != 0 {
		t.Errorf("at the end %d are pinned", p.count())
	}
	p.err = errors.New("the system does not pin that much")
	if _, err := c.Register(s.memory(5000)); err != nil {
		t.Errorf("what cannot be pinned cannot be shared: %v", err)
	}
}

// Clients that come and go while requests use what they share leave nothing.
func TestManyAtOnce(t *testing.T) {
	s := serve(t, Config{Total: 1 << 30, Each: 1 << 30, Pinner: &pins{held: map[*byte]int{}}}, time.Minute)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 20 {
				c, err := shm.Dial(t.Context(), s.socket, "alice")
				if err != nil {
					t.Error(err)
					return
				}
				m, err := shm.New(8192)
				if err != nil {
					t.Error(err)
					return
				}
				name, err := c.Register(m)
				if err != nil {
					t.Error(err)
					return
				}
				var users sync.WaitGroup
				for range 3 {
					users.Go(func() {
						r, err := s.Pool.Use(function("alice"), name)
						if err != nil {
							return // the connection was faster
						}
						data, _ := r.Slice(4096, 1)
						runtime.Gosched()
						_ = data[0]
						r.Release()
					})
				}
				c.Close()
				m.Close()
				users.Wait()
			}
		})
	}
	work.Wait()
	s.until("all to go", s.empty)
}
