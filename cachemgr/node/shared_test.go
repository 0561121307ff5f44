package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// dialShared connects to the socket for shared memory with a function's token.
func (s site) dialShared(ctx context.Context, raw string) (*shm.Conn, error) {
	return shm.Dial(ctx, filepath.Join(s.dir, api.SocketShm), raw)
}

func (s site) token(t *testing.T, name string) string {
	t.Helper()
	raw, _, err := s.signer.Function(s.function(t, name), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sharedRequest has an input of n bytes at the beginning of a region. (The engine
// has outputs of any size, so they are wanted behind it.)
func sharedRequest(region string, n int64) *oip.Request {
	return &oip.Request{
		Inputs:  []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{n}}},
		Places:  []oip.Place{{Region: region, Size: n}},
		Outputs: []oip.Output{{Name: "y", Place: oip.Place{Region: region, Offset: n, Size: n}}},
	}
}

func TestSharedMemoryGivesTheSameOutputs(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	n := start(t, s.config(e))
	defer shutdown(t, n)
	alice, bob := s.client(t, "alice"), s.client(t, "bob")
	bring(t, alice, "a")
	bring(t, bob, "a")
	conn, err := s.dialShared(t.Context(), s.token(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.Epoch() != n.Epoch() {
		t.Errorf("the socket is of epoch %q, the node %q", conn.Epoch(), n.Epoch())
	}
	const size = 10000
	m, err := shm.New(2 * size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	region, err := conn.Register(m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Data[:size] {
		m.Data[i] = byte(i * 7)
	}
	resp, _, err := alice.Infer(t.Context(), api.Call{Model: "a"}, sharedRequest(region, size))
	if err != nil {
		t.Fatal(err)
	}
	resp.Release()
	if !bytes.Equal(m.Data[size:], testengine.Expect(s.path("a"), m.Data[:size])) {
		t.Error("the output is wrong")
	}
	if _, err := s.infer(alice, "a", m.Data[:size]); err != nil {
		t.Errorf("the same over HTTP: %v", err)
	}
	if _, _, err := bob.Infer(t.Context(), api.Call{Model: "a"}, sharedRequest(region, size)); statusOf(err) != http.StatusGone {
		t.Errorf("with another function's region: %v", err)
	}
	if _, err := s.dialShared(t.Context(), ""); statusOf(err) != http.StatusUnauthorized {
		t.Errorf("without a token: %v", err)
	}
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Status
	}
	return 0
}

// shareAndWait makes this program a function that shares memory, says its region's
// name, and waits to be killed.
const shareAndWait = "NODE_TEST_SHARE_AND_WAIT"

func TestMain(m *testing.M) {
	if path := os.Getenv(shareAndWait); path != "" {
		os.Exit(sharer(path, os.Getenv("token")))
	}
	verify(m)
}

func sharer(path, token string) int {
	conn, err := shm.Dial(context.Background(), path, token)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := shm.New(20000)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m.Data[0] = 42
	region, err := conn.Register(m)
	fmt.Println(region)
	if err != nil {
		return 1
	}
	select {}
}

// A function that is killed while the model works on its memory takes nothing with
// it but its region.
func TestFunctionKilledDuringARun(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	running, proceed := make(chan struct{}), make(chan struct{})
	hold := true
	e.Before = func(_ context.Context, c testengine.Call) error {
		if c.Op == testengine.Run && hold {
			hold = false
			close(running)
			<-proceed
		}
		return nil
	}
	n := start(t, s.config(e))
	defer shutdown(t, n)
	alice := s.client(t, "alice")
	bring(t, alice, "a")

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), shareAndWait+"="+filepath.Join(s.dir, api.SocketShm), "token="+s.token(t, "alice"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	region := strings.TrimSpace(line)

	done := make(chan error)
	go func() {
		_, _, err := alice.Infer(context.Background(), api.Call{Model: "a"}, sharedRequest(region, 10000))
		done <- err
	}()
	<-running
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, func() bool { // until then it would wait for the other run
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, _, err := alice.Infer(ctx, api.Call{Model: "a"}, sharedRequest(region, 10000))
		return statusOf(err) == http.StatusGone
	})
	close(proceed)
	if err := <-done; err != nil {
		t.Errorf("the run: %v", err)
	}
	if _, err := s.infer(alice, "a", []byte{1, 2, 3}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// After a restart of the node a region of the last one is unknown, and can be
// handed over again.
func TestSharedMemoryAfterARestart(t *testing.T) {
	s := newSite(t)
	e := s.engine(t, "a")
	n := start(t, s.config(e))
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	conn, err := s.dialShared(t.Context(), s.token(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m, err := shm.New(20000)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	region, err := conn.Register(m)
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, n)

	n = start(t, s.config(e))
	defer shutdown(t, n)
	if _, err := conn.Register(m); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("over the connection of before: %v", err)
	}
	if _, _, err := alice.Infer(t.Context(), api.Call{Model: "a"}, sharedRequest(region, 10000)); statusOf(err) != http.StatusGone {
		t.Errorf("with the region of before: %v", err)
	}
	again, err := s.dialShared(t.Context(), s.token(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if region, err = again.Register(m); err != nil {
		t.Fatal(err)
	}
	if _, _, err := alice.Infer(t.Context(), api.Call{Model: "a"}, sharedRequest(region, 10000)); err != nil {
		t.Error(err)
	}
}
