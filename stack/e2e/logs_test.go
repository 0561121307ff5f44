package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// follower is a `faas-cli logs` that goes on.
type follower struct {
	lines chan string // closed at its end
	ended chan error
}

// followLogs follows the logs of digits with faas-cli.
func followLogs(t *testing.T, l *lab.Lab, cli string) *follower {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), cli, "logs", "digits")
	cmd.Env = append(os.Environ(), "OPENFAAS_URL="+l.URL, "OPENFAAS_CONFIG="+filepath.Join(l.Dir, "faas-cli"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	f := &follower{lines: make(chan string, 1000), ended: make(chan error, 1)}
	go func() {
		defer close(f.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			f.lines <- in.Text()
		}
		f.ended <- cmd.Wait()
	}()
	return f
}

// awaitLine waits for a line with these words.
func (f *follower) awaitLine(t *testing.T, words string) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-f.lines:
			if !ok {
				t.Fatalf("the logs ended without %q", words)
			}
			if strings.Contains(line, words) {
				return
			}
		case <-late:
			t.Fatalf("no line with %q came", words)
		}
	}
}

// awaitEnd waits until faas-cli has ended by itself.
func (f *follower) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case err := <-f.ended:
		if err != nil {
			t.Errorf("faas-cli logs: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("faas-cli logs did not end")
	}
}

// TestFollowedLogs follows logs with faas-cli over a second replica.
// They end with the function, and with the provider, which does not wait for
// those who follow.
func TestFollowedLogs(t *testing.T) {
	cli := os.Getenv("FAAS_CLI")
	if cli == "" {
		t.Skip("FAAS_CLI names no program; `make test` builds it")
	}
	l := start(t, lab.Options{})
	deployDigits(t, l)
	login := exec.CommandContext(t.Context(), cli, "login", "--password-stdin", "--gateway", l.URL)
	login.Env = append(os.Environ(), "OPENFAAS_CONFIG="+filepath.Join(l.Dir, "faas-cli"))
	login.Stdin = strings.NewReader(l.Password)
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	f := followLogs(t, l, cli)
	f.awaitLine(t, "listening") // what there was before
	for _, path := range []string{"/first", "/second"} {
		invoke(t, l, "digits", path, nil)
		f.awaitLine(t, "POST "+path)
	}
	scale := map[string]any{"serviceName": "digits", "namespace": lab.Namespace, "replicas": 2}
	must(t, l.System(t.Context(), "POST", "/system/scale-function/digits", scale, nil))
	f.awaitLine(t, "listening") // the other replica

	must(t, l.Remove(t.Context(), "digits"))
	f.awaitEnd(t)

	deployDigits(t, l)
	f = followLogs(t, l, cli)
	f.awaitLine(t, "listening")
	began := time.Now()
	must(t, l.Provider.Stop())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the provider waited %v for those who follow logs", took)
	}
	f.awaitEnd(t)
	must(t, l.Provider.Restart(t.Context()))
}
