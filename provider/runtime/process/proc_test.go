package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// spawn starts a program that this test does not wait for.
func spawn(t *testing.T, env []string, name string, args ...string) (pid, pidfd int) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(path, append([]string{name}, args...), &os.ProcAttr{
		Env: env, Sys: &syscall.SysProcAttr{PidFD: &pidfd, Setsid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	pid = p.Pid
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	return pid, pidfd
}

func TestHandle(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0":        "exited with status 0",
		"exit 3":        "exited with status 3",
		"kill -KILL $$": "was killed by signal SIGKILL",
	} {
		h, err := newHandle(spawn(t, nil, "sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		if how, err := h.wait(); how != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", script, how, err, want)
		}
		if err := h.signal(unix.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("a signal to a process that ended: %v", err)
		}
		h.close()
	}
}

func TestHandleClose(t *testing.T) {
	pid, fd := spawn(t, nil, "sleep", "1000")
	h, err := newHandle(pid, fd)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := h.wait()
		done <- err
	}()
	h.close()
	if err := <-done; err == nil {
		t.Error("wait says that a process ended which runs")
	}
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adopt(pid, s.birth+1); err == nil {
		t.Error("a process of another birth was adopted")
	}
	again, err := adopt(pid, s.birth)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if err := again.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if how, err := again.wait(); how != "was killed by signal SIGKILL" {
		t.Errorf("adopted: %q, %v", how, err)
	}
	if _, err := adopt(pid, s.birth); err == nil {
		t.Error("a process that ended was adopted")
	}
}

func TestKillMarked(t *testing.T) {
	const id = "replica-of-this-test"
	mine, err := newHandle(spawn(t, []string{"a=b", marker + "=" + id}, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer mine.close()
	other, err := newHandle(spawn(t, []string{marker + "=" + id + "0"}, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	killMarked(id)
	if how, err := mine.wait(); how != "was killed by signal SIGKILL" {
		t.Errorf("%q, %v", how, err)
	}
	if err := other.signal(unix.SIGTERM); err != nil {
		t.Errorf("the process of another replica: %v", err)
	}
	if how, _ := other.wait(); how != "was killed by signal SIGTERM" {
		t.Errorf("the process of another replica %s", how)
	}
}

func FuzzParseStat(f *testing.F) {
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(self))
	f.Add("1 (a) b) S 1 2 3" + strings.Repeat(" 7", 40))
	f.Add("1 (a) S 1 2 x")
	f.Add(")")
	f.Fuzz(func(t *testing.T, line string) {
		if _, err := parseStat(line); err == nil && !strings.Contains(line, " ") {
			t.Errorf("%q was read as a status", line)
		}
	})
}

func TestParseStat(t *testing.T) {
	// A name may hold what ends a name.
	line := "42 (a) S (b) R 1 2 77 0 -1 4 5 6 7 8 30 12 0 0 20 0 1 0 987654 1000 55 18446744073709551615 1"
	got, err := parseStat(line)
	if want := (stat{session: 77, ticks: 42, birth: 987654, pages: 55}); got != want || err != nil {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestUsage(t *testing.T) {
	pid, fd := spawn(t, nil, "sh", "-c", "while :; do :; done")
	h, err := newHandle(pid, fd)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	read := usage(pid)
	var u runtime.Usage
	for deadline := testDeadline(); u.MilliCPU == 0 && deadline(); {
		u = read()
	}
	if u.MilliCPU <= 0 || u.MemoryBytes <= 0 {
		t.Errorf("a process that computes uses %+v", u)
	}
	if err := h.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := h.wait(); err != nil {
		t.Fatal(err)
	}
	if u := read(); u != (runtime.Usage{}) {
		t.Errorf("a process that ended uses %+v", u)
	}
}

// TestCgroups writes the controls to an ordinary folder.
func TestCgroups(t *testing.T) {
	mount := t.TempDir()
	if c := openCgroups(mount, "f"); len(c.unenforced) != 2 || !strings.Contains(c.unenforced[0], "memory: this machine has no cgroup version 2") {
		t.Errorf("without cgroups: %q", c.unenforced)
	}
	if err := os.WriteFile(filepath.Join(mount, "cgroup.controllers"), []byte("cpuset memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openCgroups(mount, "f")
	if len(c.unenforced) != 1 || c.unenforced[0] != "cpu: the cgroup controller is not available" {
		t.Errorf("without cpu: %q", c.unenforced)
	}
	if err := os.WriteFile(filepath.Join(mount, "cgroup.controllers"), []byte("cpu memory"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = openCgroups(mount, "f")
	if group, err := c.open("none", runtime.Resources{}); group != nil || err != nil || len(c.unenforced) != 0 {
		t.Errorf("without limits: %v, %v, %q", group, err, c.unenforced)
	}
	group, err := c.open("r", runtime.Resources{MemoryBytes: 1 << 20, MilliCPU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	group.Close()
	for name, want := range map[string]string{"memory.max": "1048576", "cpu.max": "150000 100000"} {
		if got, err := os.ReadFile(filepath.Join(mount, "f", "r", name)); string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := c.open("r", runtime.Resources{MemoryBytes: 1}); err == nil {
		t.Error("two replicas have one group")
	}
	if err := c.remove("none"); err != nil {
		t.Errorf("remove of a group that was not needed: %v", err)
	}
}
