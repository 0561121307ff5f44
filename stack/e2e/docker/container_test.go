package docker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

const (
	providerImage = "faas-gpu/gpu-provider:latest"
	// providerContainer is also the name of its installation.
	providerContainer = "faas-gpu-e2e-provider"
)

// inContainer restarts a provider that is the first process of a container: the
// container goes on, and no request fails.
func inContainer(t *testing.T) {
	url := startContainer(t)
	pid := inspect(t, "{{.State.Pid}}")
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			load.Go(func() {
				if err := healthy(t.Context(), url); err != nil {
					t.Error(err)
				}
			})
		}
	})
	for n := range 2 {
		if _, err := docker(t.Context(), "kill", "--signal", "USR2", providerContainer); err != nil {
			t.Fatal(err)
		}
		awaitRestarts(t, n+1)
	}
	close(stop)
	load.Wait()
	if after := inspect(t, "{{.State.Pid}}"); after != pid || inspect(t, "{{.RestartCount}}") != "0" {
		t.Errorf("the container's process was %s, is %s", pid, after)
	}
}

// startContainer starts the provider's image on the daemon's own network.
func startContainer(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(os.Getenv(hostVariable), "unix://")
	_, err = docker(t.Context(), "run", "--detach", "--name", providerContainer, "--network", "host",
		"--volume", dir+":"+dir, "--volume", socket+":/docker.sock",
		"--env", "runtime=docker", "--env", "docker_host=unix:///docker.sock", "--env", "docker_name="+providerContainer,
		"--env", "state_dir="+dir, "--env", "cachemgr_socket="+dir+"/run/oip.sock", "--env", "port="+strconv.Itoa(port), providerImage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out, err := docker(context.Background(), "logs", providerContainer)
		if t.Failed() {
			t.Logf("%s, %v", out, err)
		}
		for _, args := range [][]string{{"stop", providerContainer}, {"rm", providerContainer}, {"network", "rm", providerContainer}} {
			if _, err := docker(context.Background(), args...); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	url = "http://127.0.0.1:" + strconv.Itoa(port)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := lab.Poll(ctx, func() error { return healthy(ctx, url) }); err != nil {
		t.Fatal(err)
	}
	return url
}

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /healthz: %s", resp.Status)
	}
	return nil
}

func inspect(t *testing.T, format string) string {
	t.Helper()
	out, err := docker(t.Context(), "inspect", "--format", format, providerContainer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func awaitRestarts(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := lab.Poll(ctx, func() error {
		out, err := docker(ctx, "logs", providerContainer)
		if got := strings.Count(out, `"restarted: `); err == nil && got != n {
			err = fmt.Errorf("restarted %d times, want %d", got, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
