package region

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func function(name string) api.FunctionRef { return api.FunctionRef{Name: name, Namespace: "ns"} }

// site is a server at a socket; a token is the name of a function.
type site struct {
	*testing.T
	*Server
	socket  string
	refuse  atomic.Bool  // connections
	expires atomic.Int64 // of tokens, nanoseconds; 0: never
	gone    atomic.Pointer[string]
}

func serve(t *testing.T, c Config, patience time.Duration) *site {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	s := &site{T: t, socket: filepath.Join(t.TempDir(), "shm.sock")}
	s.Server = &Server{
		Pool: NewPool(c), Epoch: "e", Log: c.Log, Patience: patience,
		Owner: func(token string) (Owner, error) {
			if token == "" {
				return Owner{}, errors.New("no token")
			}
			o := Owner{Function: function(token)}
			if at := s.expires.Load(); at != 0 {
				o.Expires = time.Unix(0, at)
			}
			return o, nil
		},
		Gone: func(o Owner) bool {
			gone := s.gone.Load()
			return gone != nil && *gone == o.Function.Name
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
