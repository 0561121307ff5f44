package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lab is a toy that runs.
type lab struct {
	t       *testing.T
	dir     string
	cmd     *exec.Cmd
	exited  chan error
	address string
	client  *http.Client

	mu     sync.Mutex
	output bytes.Buffer
}

// Write keeps what the toy says.
func (l *lab) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.output.Write(b)
}

// said is whether the toy has said something so many times.
func (l *lab) said(text string, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Count(l.output.String(), text); got != n {
		return fmt.Errorf("%q is %d times in the output, want %d:\n%s", text, got, n, l.output.String())
	}
	return nil
}

// link makes the test program known by another name.
func link(t *testing.T, name string) {
	t.Helper()
	program, err := os.Executable()
	if err == nil {
		err = os.Symlink(program, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a toy of which a step goes wrong.
func start(t *testing.T, flags uintptr, fault string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), exited: make(chan error, 1), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	l.fault(fault)
	link(t, filepath.Join(l.dir, "program"))
	l.cmd = exec.Command(filepath.Join(l.dir, "program"))
	l.cmd.Env = append(os.Environ(), dirVariable+"="+l.dir, "GORACE=atexit_sleep_ms=0")
	l.cmd.Stdout, l.cmd.Stderr = l, l
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		if flags != 0 && errors.Is(err, syscall.EPERM) {
			t.Skip("no permission to make a PID namespace")
		}
		t.Fatal(err)
	}
	go func() { l.exited <- l.cmd.Wait() }()
	t.Cleanup(func() {
		l.cmd.Process.Kill()
		<-l.exited
		if t.Failed() {
			t.Logf("%s", &l.output)
		}
	})
	l.eventually(func() error {
		text, err := os.ReadFile(filepath.Join(l.dir, "address"))
		if l.address = string(text); err != nil {
			return err
		}
		_, err = l.get("/")
		return err
	})
	return l
}

// eventually wants f to succeed soon.
func (l *lab) eventually(f func() error) {
	l.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			l.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// get returns the ID of the process that answers.
func (l *lab) get(path string) (int, error) {
	resp, err := l.client.Get("http://" + l.address + path)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

func (l *lab) pid() int {
	l.t.Helper()
	pid, err := l.get("/")
	if err != nil {
		l.t.Fatal(err)
	}
	return pid
}

func (l *lab) signal(pid int, s syscall.Signal) {
	l.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		l.t.Fatal(err)
	}
}

// fault has a step go wrong of the processes that are started from now on.
func (l *lab) fault(f string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, "fault"), []byte(f), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func gone(pid int) error {
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("process %d is still there: %v", pid, err)
	}
	return nil
}

// ended wants the toy to end, and returns how.
func (l *lab) ended() error {
	l.t.Helper()
	select {
	case err := <-l.exited:
		l.exited <- err // for the clean-up
		return err
	case <-time.After(20 * time.Second):
		l.t.Fatal("the toy has not ended")
		return nil
	}
}

// slow begins a request that is answered once the file "answer" is there, by the
// process whose ID comes.
func (l *lab) slow() <-chan int {
	l.t.Helper()
	resp, err := l.client.Get("http://" + l.address + "/slow") // returns with the head of the answer
	if err != nil {
		l.t.Fatal(err)
	}
	pid := make(chan int, 1)
	go func() {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		n, _ := strconv.Atoi(string(text))
		pid <- n
	}()
	return pid
}

// load sends requests, none of which may fail, until stop is called or the test ends.
func (l *lab) load() (stop func()) {
	end := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := l.get("/"); err != nil {
					l.t.Error(err)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(end)
		clients.Wait()
	})
	l.t.Cleanup(stop)
	return stop
}
