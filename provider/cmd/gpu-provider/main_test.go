package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadConfig(t *testing.T) {
	c, err := readConfig([]string{"port=0", "state_dir=s", "cachemgr_nodes=/a.sock, http://b:8000", "upstream_timeout=5m", "queue_limit=7"})
	if err != nil {
		t.Fatal(err)
	}
	if c.address() != "127.0.0.1:0" || !filepath.IsAbs(c.stateDir) || len(c.nodes) != 2 || c.nodes[1] != "http://b:8000" ||
		c.limits.Queue != 7 || c.limits.UpstreamTimeout.Minutes() != 5 || !c.basicAuth {
		t.Errorf("%+v", c)
	}
	if c, err := readConfig(nil); err != nil || len(c.nodes) != 1 || c.nodes[0] != "/run/faas-gpu/oip.sock" {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = readConfig([]string{"runtime=docker", "docker_host=unix:///d.sock", "gpus=GPU-a, GPU-b,", "gpu_driver=cdi", "node_labels=zone=a,gpu=true=1"})
	if err != nil {
		t.Fatal(err)
	}
	if d := c.docker; d.Host != "unix:///d.sock" || d.Name != "faas-gpu" || !slices.Equal(d.GPUs, []string{"GPU-a", "GPU-b"}) || d.GPUDriver != "cdi" ||
		d.NodeLabels["zone"] != "a" || d.NodeLabels["gpu"] != "true=1" {
		t.Errorf("%+v", d)
	}
	for want, value := range map[string]string{
		"gpu_driver": "gpu_driver=magic", "node_labels": "node_labels=zone",
		"port": "port=70000", "runtime": "runtime=magic", "basic_auth": "basic_auth=perhaps", "max_body": "max_body=much",
	} {
		if _, err := readConfig([]string{value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", value, err)
		}
	}
}

func TestUsageNamesEveryVariable(t *testing.T) {
	var out strings.Builder
	if err := usage(&out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"port", "bind", "state_dir", "basic_auth", "cachemgr_nodes", "queue_limit", "max_body"} {
		if !strings.Contains(out.String(), "\n"+name+" ") && !strings.HasPrefix(out.String(), name+" ") {
			t.Errorf("%s is missing in\n%s", name, out.String())
		}
	}
}

func TestArguments(t *testing.T) {
	var out strings.Builder
	for _, flag := range []string{"-help", "--help", "-h"} {
		out.Reset()
		if err := command(t.Context(), []string{flag}, nil, &out, nil); err != nil || !strings.Contains(out.String(), "state_dir") {
			t.Errorf("%s: %v, %s", flag, err, out.String())
		}
	}
	if err := command(t.Context(), []string{"-port=1"}, nil, &out, nil); err == nil || !strings.Contains(err.Error(), "-port=1") {
		t.Errorf("another argument: %v", err)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	logs, logTo, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"port=0", "state_dir=" + dir, "cachemgr_socket=" + filepath.Join(dir, "none.sock")}, logTo)
		logTo.Close()
	}()
	url := ""
	for lines := bufio.NewScanner(logs); url == "" && lines.Scan(); {
		if m := regexp.MustCompile(`url=(http://\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			url = m[1]
		}
	}
	password, err := os.ReadFile(filepath.Join(dir, "basic-auth-password"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for user, want := range map[string]int{"": http.StatusUnauthorized, "admin": http.StatusOK} {
		r, err := http.NewRequest("GET", url+"/system/functions", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, strings.TrimSpace(string(password)))
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("user %q: got %d", user, resp.StatusCode)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
