// Package docker tests the real programs with the real Docker: functions that
// faas-cli and `docker build` make run as containers, and answer while they are
// updated, scaled and killed. `make test-docker` starts the daemon and makes the
// images.
package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// Variables that `make test-docker` sets.
const (
	hostVariable    = "DOCKER_TEST_HOST"    // the daemon
	cliVariable     = "FAAS_CLI"            // the program faas-cli
	gatewayVariable = "GATEWAY"             // the OpenFaaS gateway
	runtimeVariable = "RUNTIME_IMAGE"       // what functions are built on
	resultVariable  = "DOCKER_TEST_RESULT"  // a file for the result
	installation    = "faas-gpu-e2e-docker" // at the daemon
)

// result is what was measured.
type result struct {
	Requests              int `json:"requests"`
	FailedUpdate          int `json:"failed_update"`
	FailedScale           int `json:"failed_scale"`
	FailedProviderRestart int `json:"failed_provider_restart"`
	FailedKillInFlight    int `json:"failed_kill_inflight"`
	FailedKillOther       int `json:"failed_kill_other"`
	WrongOutputs          int `json:"wrong_outputs"`
	// SecretSeconds is how long after deploying again a secret's new value is there.
	SecretSeconds float64 `json:"secret_seconds"`
	GatewayOK     bool    `json:"gateway_ok"`
	ComposeOK     bool    `json:"compose_ok"`
}

// TestDocker is one test, of which the parts follow from each other.
func TestDocker(t *testing.T) {
	for _, name := range []string{hostVariable, cliVariable, gatewayVariable, runtimeVariable} {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: `make test-docker` starts a Docker daemon for this test", name)
		}
	}
	l := start(t)
	d := &digitsFunction{lab: l}
	if !t.Run("FaasCLI", func(t *testing.T) { faasCLI(t, l) }) || !t.Run("Answers", d.learn) {
		return
	}
	t.Run("Refusals", func(t *testing.T) { refusals(t, d) })
	t.Run("MissingImage", func(t *testing.T) { missingImage(t, l) })
	t.Run("Narrow", func(t *testing.T) { narrow(t, d) })
	t.Run("Child", func(t *testing.T) { child(t, d) })
	var r result
	r.GatewayOK = t.Run("Gateway", func(t *testing.T) { gateway(t, l) })
	t.Run("InContainer", inContainer)
	r.ComposeOK = t.Run("Compose", func(t *testing.T) { compose(t, l) })
	t.Run("Update", func(t *testing.T) { r.FailedUpdate = update(t, d) })
	t.Run("Scale", func(t *testing.T) { r.FailedScale = scale(t, d) })
	t.Run("Restart", func(t *testing.T) { r.FailedProviderRestart = restart(t, d) })
	t.Run("Kill", func(t *testing.T) { r.FailedKillInFlight, r.FailedKillOther = kill(t, d) })
	if t.Run("Teller", func(t *testing.T) { teller(t, l) }) {
		t.Run("Secret", func(t *testing.T) { r.SecretSeconds = secret(t, l).Seconds() })
		t.Run("Logs", func(t *testing.T) { logLines(t, l) })
		t.Run("KillInFlight", func(t *testing.T) {
			inFlight, other := killInFlight(t, l)
			r.FailedKillInFlight, r.FailedKillOther = r.FailedKillInFlight+inFlight, r.FailedKillOther+other
		})
	}
	r.Requests, r.WrongOutputs = d.requests, d.wrong
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	if file := os.Getenv(resultVariable); file != "" {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts the provider and a cache manager on this machine. At the end no
// container is left.
func start(t *testing.T) *lab.Lab {
	t.Helper()
	// Not t.TempDir: its path is too long for Unix sockets.
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	programs, err := lab.Build(t.Context(), filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Start(t.Context(), programs, lab.Options{
		Dir: filepath.Join(dir, "lab"), Provider: []string{"runtime=docker", "docker_host=" + os.Getenv(hostVariable), "docker_name=" + installation},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := l.RemoveAll(ctx)
		err = errors.Join(err, lab.Poll(ctx, func() error {
			if left, err := containers(ctx, "--all"); len(left) > 0 || err != nil {
				return fmt.Errorf("containers %q are left: %w", left, err)
			}
			return nil
		}), l.Close())
		if _, networkErr := docker(ctx, "network", "rm", installation); errors.Join(err, networkErr) != nil {
			t.Error("stop:", err, networkErr)
		}
		if t.Failed() {
			t.Logf("provider:\n%s\ncachemgr:\n%s", l.Provider.Tail(), l.Cachemgr.Tail())
		}
	})
	return l
}

// docker runs the real docker command.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+os.Getenv(hostVariable))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// containers are the names of the installation's containers.
func containers(ctx context.Context, flags ...string) ([]string, error) {
	args := append([]string{"ps", "--filter", "label=com.faas-gpu.installation=" + installation, "--format", "{{.Names}}"}, flags...)
	out, err := docker(ctx, args...)
	return strings.Fields(out), err
}
