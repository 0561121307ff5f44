package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// A region that ends while a request runs is there until the request has ended.
func TestRegionThatEndsDuringARun(t *testing.T) {
	m := newFakeManager()
	s, h := newServer(t, m, Limits{})
	running, proceed := make(chan struct{}), make(chan struct{})
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		close(running)
		<-proceed
		return double(ctx, r)
	}
	mem, err := shm.New(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	conn := connect(t, s)
	region, err := conn.Register(mem)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem.Data, floatBytes(1, 2, 3, 4))
	answered := make(chan string)
	go func() {
		resp, body := send(t, "POST", h.URL+inferPath, sharedFour(at(region, 0, 16), at(region, 64, 16)))
		answered <- fmt.Sprint(resp.StatusCode, body)
	}()
	<-running
	conn.Close()
	waitFor(t, func() bool { n, _ := s.regions.Usage(); return n == 0 })
	if _, bytes := s.regions.Usage(); bytes == 0 {
		t.Error("its bytes are not counted any more")
	}
	close(proceed)
	if got := <-answered; !strings.HasPrefix(got, "200") || !bytes.Equal(mem.Data[64:80], floatBytes(2, 4, 6, 8)) {
		t.Errorf("answer is %s, output %v", got, floats(mem.Data[64:80]))
	}
	waitFor(t, func() bool { _, bytes := s.regions.Usage(); return bytes == 0 })
}

// What the provider's references do not name any more shares no memory.
func TestReferencesEndSharedMemory(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	alice := Caller{Owner: true, Provider: true, Function: api.FunctionRef{Name: "alice", Namespace: "ns", UID: "1"}, Minted: time.Now()}
	s.auth = authFunc(func(string) (Caller, error) { return alice, nil })
	conn := connect(t, s)
	mem, err := shm.New(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	if _, err := conn.Register(mem); err != nil {
		t.Fatal(err)
	}
	set := func(generation int, functions string) {
		body := fmt.Sprintf(`{"generation":%d,"at":%q,"functions":[%s]}`, generation, time.Now().Add(time.Second).Format(time.RFC3339Nano), functions)
		if resp, body := send(t, "PUT", h.URL+api.RouteReferences, body); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	set(1, `{"name":"alice","namespace":"ns","uid":"1"}`)
	if _, err := conn.Register(mem); err != nil {
		t.Errorf("of a function that is there: %v", err)
	}
	set(2, "")
	waitFor(t, func() bool { n, bytes := s.regions.Usage(); return n == 0 && bytes == 0 })
	if _, err := conn.Register(mem); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("of one that is not: %v", err)
	}
}

// connect serves a socket for shared memory and connects to it.
func connect(t *testing.T, s *Server) *shm.Conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shm.sock")
	l, err := net.Listen(shm.Network, path)
	if err != nil {
		t.Fatal(err)
	}
	server := s.SharedMemoryServer(func(net.Conn) bool { return true }, func(net.Conn) {})
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		l.Close()
		<-served
	})
	conn, err := shm.Dial(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestSharedMemoryRoutes(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	region, _ := share(t, s, api.FunctionRef{}, 100)
	share(t, s, api.FunctionRef{Name: "bob"}, 200)
	for _, path := range []string{"status", "region/" + region + "/status"} {
		resp, body := send(t, "GET", h.URL+"/v2/systemsharedmemory/"+path, "")
		var list []oip.SharedMemory
		if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != 200 || len(list) != 1 || list[0] != (oip.SharedMemory{Name: region, ByteSize: 100}) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := send(t, "GET", h.URL+"/v2/systemsharedmemory/region/other/status", ""); resp.StatusCode != 410 {
		t.Errorf("an unknown region: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"region/r/register", "region/r/unregister", "unregister"} {
		resp, body := send(t, "POST", h.URL+"/v2/systemsharedmemory/"+path, `{"key":"/x","byte_size":100}`)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "shm.sock") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestOwnersOfSharedMemory(t *testing.T) {
	alice := api.FunctionRef{Name: "alice", Namespace: "ns", UID: "1"}
	s, _ := newServer(t, newFakeManager(), Limits{})
	for token, c := range map[string]struct {
		caller Caller
		err    error
		says   string
	}{
		"a": {caller: Caller{Owner: true, Function: alice}},
		"p": {caller: Caller{Provider: true}, says: "is of the provider"},
		"":  {err: errors.New("no token"), says: "no token"},
	} {
		s.auth = authFunc(func(authorization string) (Caller, error) {
			if want := strings.TrimSpace("Bearer " + token); token != "" && authorization != want || token == "" && authorization != "" {
				t.Errorf("token %q is shown as %q", token, authorization)
			}
			return c.caller, c.err
		})
		f, err := s.owner(token)
		if c.says == "" && (err != nil || f.Function != alice) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("token %q is of %v, %v", token, f, err)
		}
	}
}

type authFunc func(string) (Caller, error)

func (f authFunc) Caller(authorization string) (Caller, error) { return f(authorization) }
