package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
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

// TestRestart restarts under a load, of which no request fails.
func TestRestart(t *testing.T) {
	l := start(t, 0, "")
	first := l.pid()
	if first == l.cmd.Process.Pid {
		t.Fatal("the parent answers")
	}
	slow := make(chan int, 1)
	slowBegan := make(chan struct{})
	go func() {
		resp, err := l.client.Get("http://" + l.address + "/slow")
		close(slowBegan) // with the head of the answer
		if err != nil {
			t.Error(err)
			slow <- 0
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		pid, _ := strconv.Atoi(string(text))
		slow <- pid
	}()
	<-slowBegan
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := l.get("/"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		before := l.pid()
		l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
		l.eventually(func() error {
			if pid := l.pid(); pid == before {
				return fmt.Errorf("%d still answers", pid)
			}
			return nil
		})
	}
	close(stop)
	load.Wait()
	if err := os.WriteFile(filepath.Join(l.dir, "answer"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if pid := <-slow; pid != first {
		t.Errorf("the request that was in flight for all that time was answered by %d, not %d", pid, first)
	}
	l.eventually(func() error { return gone(first) })
	last := l.pid()
	// As who signals all processes of a name: the child leaves it to the parent.
	l.signal(last, syscall.SIGUSR2)
	if pid := l.pid(); pid != last {
		t.Errorf("%d answers after %d was sent a signal", pid, last)
	}
	l.signal(l.cmd.Process.Pid, syscall.SIGTERM)
	if err := l.ended(); err != nil {
		t.Error(err)
	}
	if err := gone(last); err != nil {
		t.Error(err)
	}
}

// TestRestartFails wants the former process to serve on, whatever becomes of the
// next.
func TestRestartFails(t *testing.T) {
	l := start(t, 0, "")
	program := filepath.Join(l.dir, "program")
	first := l.pid()
	for i, fault := range []string{"exit start", "hang start", "exit serve", "hang serve", "missing"} {
		l.fault(fault)
		if fault == "missing" {
			if err := os.Remove(program); err != nil {
				t.Fatal(err)
			}
		}
		l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
		l.eventually(func() error { return l.said("not restarted", i+1) })
		if pid := l.pid(); pid != first {
			t.Errorf("%q: %d answers, want %d", fault, pid, first)
		}
	}
	l.fault("")
	link(t, program)
	l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
	l.eventually(func() error { return gone(first) })
	l.pid()
}

// TestFormerFails has the process that serves end, or hang, when it should give up
// the state.
func TestFormerFails(t *testing.T) {
	l := start(t, 0, "exit release")
	l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
	if err := l.ended(); err == nil || l.cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("ended with %v, want the status of the process that served", err)
	}
	l = start(t, 0, "hang release")
	l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
	l.eventually(func() error { return l.said("not restarted", 1) })
	l.pid() // it still answers
}

func TestChildDies(t *testing.T) {
	l := start(t, 0, "")
	if _, err := l.get("/exit"); err == nil {
		t.Error("an answer")
	}
	if err := l.ended(); err == nil || l.cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("ended with %v, want the status of the process that served", err)
	}
	l = start(t, 0, "")
	l.signal(l.pid(), syscall.SIGKILL)
	if err := l.ended(); err == nil {
		t.Error("no error")
	}
	if err := l.said("signal killed", 1); err != nil {
		t.Error(err)
	}
}

func TestParentDies(t *testing.T) {
	l := start(t, 0, "")
	child := l.pid()
	l.signal(l.cmd.Process.Pid, syscall.SIGKILL)
	l.eventually(func() error { return gone(child) })
	again, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestChildOfAnotherVersion(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dirVariable+"="+t.TempDir(), variable+"=0")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another version") {
		t.Errorf("%v, %s", err, out)
	}
}

// TestFirstProcess is the parent as the first process of a container, which has
// all processes as children whose own parents have ended.
func TestFirstProcess(t *testing.T) {
	l := start(t, syscall.CLONE_NEWPID, "orphan serve")
	l.fault("")
	l.signal(l.cmd.Process.Pid, syscall.SIGUSR2)
	l.eventually(func() error { return l.said("msg=\"restarted:", 1) })
	// Each thread has its own.
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	l.eventually(func() error {
		var children []string
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			children = append(children, strings.Fields(string(text))...)
		}
		if len(children) != 1 {
			return fmt.Errorf("the children are %q, want the one that serves", children)
		}
		return nil
	})
	l.signal(l.cmd.Process.Pid, syscall.SIGTERM)
	if err := l.ended(); err != nil {
		t.Error(err)
	}
}
