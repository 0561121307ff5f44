package handover

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRestart restarts under a load, of which no request fails.
func TestRestart(t *testing.T) {
	l := start(t, 0, "")
	first := l.pid()
	if first == l.cmd.Process.Pid {
		t.Fatal("the parent answers")
	}
	slow := l.slow()
	stop := l.load()
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
	stop()
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
