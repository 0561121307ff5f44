package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

const insideVariable = "E2E_INSIDE_NAMESPACE"

// behindGateway starts a stack behind the real gateway, if the test is in a network
// namespace of its own. If not, it runs the test again in one, and returns nil.
func behindGateway(t *testing.T, gateway string) *lab.Lab {
	t.Helper()
	if os.Getenv(insideVariable) == "" {
		runInNamespace(t)
		return nil
	}
	l := start(t, lab.Options{})
	startGateway(t, l, gateway)
	return l
}

// TestGateway puts the real OpenFaaS gateway in front of the provider, without a
// Prometheus, and does with faas-cli what people do. The gateway has fixed ports
// on all interfaces, so the test runs itself again in a network namespace of its
// own.
func TestGateway(t *testing.T) {
	gateway, cli := os.Getenv("GATEWAY"), os.Getenv("FAAS_CLI")
	if gateway == "" || cli == "" {
		t.Skip("GATEWAY and FAAS_CLI name no programs; `make test` builds them")
	}
	l := behindGateway(t, gateway)
	if l == nil {
		return // it has run in its namespace
	}
	build(t, l, "digits", "go-trt", "", nil)

	scan := scans(t)[0]
	pixels, err := json.Marshal(scan.Pixels)
	must(t, err)
	for _, step := range []struct{ args, stdin, says string }{
		{"login --password-stdin", l.Password, "credentials saved"},
		{"secret create key --from-literal=value", "", "202"},
		{"deploy --image digits --name digits --secret key --label com.openfaas.scale.min=1", "", "202"},
		{"ready digits", "", "is ready"},
		{"invoke digits", string(pixels), fmt.Sprintf(`"class":%d`, scan.Digit)},
		{"invoke digits", string(pixels), fmt.Sprintf(`"class":%d`, scan.Digit)},
		{"describe digits", "", "Ready"},
		{"logs digits --tail=false", "", "POST"},
		{"secret list", "", "key"},
		{"namespace list", "", lab.Namespace},
		{"deploy --image digits --name digits", "", "202"}, // PUT this time
		{"remove digits", "", "Removing"},
		{"secret remove key", "", "Removed"},
	} {
		out := faasCLI(t, l, cli, step.args, step.stdin)
		if !strings.Contains(out, step.says) {
			t.Errorf("faas-cli %s printed %q, want %q in it", step.args, out, step.says)
		}
		if strings.HasPrefix(step.args, "describe") {
			wantListed(t, l, cli)
		}
	}
	if out := faasCLI(t, l, cli, "list", ""); strings.Contains(out, "digits") {
		t.Errorf("after its removal the function is listed: %s", out)
	}
}

// wantListed wants the function with its two invocations: the gateway asks the
// provider for them as it would ask Prometheus.
func wantListed(t *testing.T, l *lab.Lab, cli string) {
	t.Helper()
	out := faasCLI(t, l, cli, "list", "")
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "digits" {
			if f[1] != "2" || f[2] != "1" {
				t.Errorf("2 invocations and 1 replica are listed as %s", line)
			}
			return
		}
	}
	t.Errorf("the function is not listed: %s", out)
}

// runInNamespace runs this test again where only a loopback of its own is.
func runInNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run:\n%s", out)
	}
}

// loopbackUp brings up the loopback of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// startGateway starts the gateway, which ends with the test.
func startGateway(t *testing.T, l *lab.Lab, program string) {
	t.Helper()
	gateway, err := l.StartGateway(t.Context(), program)
	must(t, err)
	t.Cleanup(func() {
		if err := gateway.Stop(); err != nil {
			t.Error("stop:", err)
		}
		if t.Failed() {
			t.Logf("gateway:\n%s", gateway.Tail())
		}
	})
}

// faasCLI runs faas-cli against the gateway and returns what it printed.
func faasCLI(t *testing.T, l *lab.Lab, cli, args, stdin string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), cli, strings.Fields(args)...)
	cmd.Dir = l.Dir
	cmd.Env = append(os.Environ(), "OPENFAAS_URL="+lab.GatewayURL, "OPENFAAS_CONFIG="+filepath.Join(l.Dir, "faas-cli"))
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("faas-cli %s: %v\n%s", args, err, out)
	}
	return string(out)
}
