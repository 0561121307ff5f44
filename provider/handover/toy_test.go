package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/internal/lockdir"
)

// dirVariable makes the test program a toy, with its state in a folder.
const dirVariable = "HANDOVER_TEST_DIR"

// TestMain runs the tests, or the toy.
func TestMain(m *testing.M) {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		goleak.VerifyTestMain(m)
		return
	}
	err := runToy(dir)
	if child := (*ExitError)(nil); errors.As(err, &child) && child.Status.Exited() {
		os.Exit(child.Status.ExitStatus())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runToy serves its process ID, as parent and child.
func runToy(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	child, err := Inherit(os.Environ())
	if err != nil {
		return err
	}
	if child != nil {
		return child.Run(ctx, newToy(dir))
	}
	restart := make(chan os.Signal, 1)
	signal.Notify(restart, syscall.SIGUSR2)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(listener.Addr().String()), 0o600); err != nil {
		return err
	}
	p := Parent{
		Path: filepath.Join(dir, "program"), Args: os.Args, Environ: os.Environ(), Listener: listener.(*net.TCPListener),
		Timeout: time.Second, Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	}
	return p.Run(ctx, restart)
}

// toy is a program whose state is a lock.
type toy struct {
	dir    string
	fault  string // what goes wrong and at which step
	lock   *os.File
	server *http.Server
	socket net.Listener
	failed chan error

	accepting, connections sync.WaitGroup
}

func newToy(dir string) *toy {
	fault, _ := os.ReadFile(filepath.Join(dir, "fault"))
	t := &toy{dir: dir, fault: string(fault), failed: make(chan error, 1)}
	t.misbehave("start")
	return t
}

// misbehave does what the test wants to go wrong at a step.
func (t *toy) misbehave(step string) {
	switch fault, where, _ := strings.Cut(t.fault, " "); {
	case where != step:
	case fault == "exit":
		os.Exit(7)
	case fault == "hang":
		select {}
	case fault == "orphan": // a process that ends after this one
		exec.Command("sleep", "0.2").Start()
	}
}

func (t *toy) Serve(_ context.Context, l net.Listener) (err error) {
	t.misbehave("serve")
	if t.lock, err = lockdir.Lock(filepath.Join(t.dir, "state")); err != nil || t.server != nil {
		return err
	}
	t.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			http.NewResponseController(w).Flush()
			for { // until the test says so
				if _, err := os.Stat(filepath.Join(t.dir, "answer")); err == nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		if r.URL.Path == "/exit" {
			os.Exit(9)
		}
		fmt.Fprint(w, os.Getpid())
	})}
	t.server.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			t.connections.Add(1)
		case http.StateClosed:
			t.connections.Done()
		}
	}
	t.socket = l
	t.accepting.Go(func() {
		if err := t.server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.failed <- err
		}
	})
	return nil
}

func (t *toy) Release() error {
	t.misbehave("release")
	return t.lock.Close()
}

// Leave does not call Shutdown, which would drop what has just been accepted.
func (t *toy) Leave(context.Context) error {
	err := t.socket.Close()
	t.accepting.Wait()
	t.connections.Wait()
	return err
}

func (t *toy) Shutdown() error {
	if t.server == nil {
		return nil
	}
	return t.server.Shutdown(context.Background())
}

func (t *toy) Failed() <-chan error { return t.failed }
