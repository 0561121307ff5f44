package child

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/logs"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// parent makes this test binary start a sleeping child, print its pid, and wait.
const parent = "CHILD_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parent) != "" {
		p, err := start("sleep", "600")
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Pid())
		select {}
	}
	goleak.VerifyTestMain(m)
}

func start(args ...string) (*Process, error) {
	sink := logs.NewPlain(os.Stderr, false)
	return Start(Command{Args: args, Environ: os.Environ(), Stdout: sink, Stderr: sink, MaxLine: 1024})
}

func mustStart(t *testing.T, args ...string) *Process {
	t.Helper()
	p, err := start(args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOutputAndExitCodes(t *testing.T) {
	for _, tc := range []struct {
		script string
		code   int
		want   string
	}{
		{"echo out; echo err >&2", 0, "stderr: err\nstdout: out\n"},
		{"printf unfinished; exit 7", 7, "stdout: unfinished\n"},
		{"kill -9 $$", 137, ""},
		{"sleep 600 & echo left one behind", 0, "stdout: left one behind\n"},
	} {
		var stdout, stderr bytes.Buffer
		p, err := Start(Command{
			Args: []string{"sh", "-c", tc.script}, Environ: os.Environ(), MaxLine: 1024, Prefix: true,
			Stdout: logs.NewPlain(&stdout, false), Stderr: logs.NewPlain(&stderr, false),
		})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if got := stderr.String() + stdout.String(); p.ExitCode() != tc.code || got != tc.want {
			t.Errorf("%s: code %d, output %q", tc.script, p.ExitCode(), got)
		}
	}
}

func TestStartOfNothing(t *testing.T) {
	_, err := start("/nonexistent/program")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/program") {
		t.Errorf("error is %v", err)
	}
}

func TestStopAsksFirst(t *testing.T) {
	p := mustStart(t, "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.01; done")
	// The trap must be in place before the signal comes; a process that has not
	// set it yet dies with 143, which is asked too.
	p.Stop(10*time.Second, nil)
	if c := p.ExitCode(); c != 5 && c != 143 {
		t.Errorf("exit code is %d", c)
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	for _, forced := range []bool{false, true} {
		force := make(chan struct{})
		grace := 10 * time.Millisecond
		if forced {
			grace = time.Hour
			close(force)
		}
		r, w, _ := os.Pipe()
		p, err := Start(Command{Args: []string{"sh", "-c", "trap '' TERM; echo ready; sleep 600"}, Environ: os.Environ(),
			Stdout: logs.NewPlain(w, false), Stderr: logs.NewPlain(os.Stderr, false), MaxLine: 64})
		if err != nil {
			t.Fatal(err)
		}
		bufio.NewReader(r).ReadString('\n')
		p.Stop(grace, force)
		if c := p.ExitCode(); c != 137 {
			t.Errorf("exit code is %d", c)
		}
		r.Close()
		w.Close()
	}
}

func TestDiesWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parent+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			unix.Kill(pid, unix.SIGKILL)
			t.Fatal("the child outlived its parent")
		}
	}
}

// alive is false for a process that has ended, also if nobody has waited for it.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
