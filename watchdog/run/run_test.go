package run

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestForkedFunction(t *testing.T) {
	p := start(t, "exec_timeout=10s")
	p.await(t, "/_/ready", 200)
	if resp, body, err := p.get("/a?b=c"); err != nil || resp.StatusCode != 200 || !strings.HasPrefix(body, "GET /a?b=c pid ") {
		t.Errorf("got %v, %q, %v", resp, body, err)
	}
	if resp, _, err := p.get("/moved"); err != nil || resp.StatusCode != 301 || resp.Header.Get("Location") != "/elsewhere" {
		t.Errorf("redirect: %v, %v", resp, err)
	}
	if resp, _, err := p.get("/hang", "X-Timeout", "30ms"); err != nil || resp.StatusCode != 504 || resp.Header.Get("X-Duration-Seconds") == "" {
		t.Errorf("timeout: %v, %v", resp, err)
	}
	if resp, _, err := p.get("/_/cache"); err != nil || resp.StatusCode != 404 {
		t.Errorf("cache without models: %v, %v", resp, err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code is %d\n%s", code, p.out)
	}
	out := p.out.String()
	for _, want := range []string{" stdout: to stdout\n", " stderr: to stderr\n", " stdout: asked to end\n", " GET /a?b=c - 200 OK - "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestServersEndIsTheWatchdogs(t *testing.T) {
	for _, code := range []int{7, 0} {
		p := start(t)
		p.await(t, "/_/ready", 200)
		resp, _, err := p.get(fmt.Sprintf("/exit?code=%d", code))
		if err == nil && resp.StatusCode != 502 {
			t.Errorf("the request in flight got %d", resp.StatusCode)
		}
		if got := p.exit(t); got != code {
			t.Errorf("exit code is %d, want %d\n%s", got, code, p.out)
		}
	}
}

func TestRequestsEndBeforeTheServer(t *testing.T) {
	p := start(t, "write_timeout=20s")
	p.await(t, "/_/ready", 200)
	body, finish := io.Pipe()
	answer := make(chan string)
	go func() {
		resp, err := http.Post(p.url+"/slow", "text/plain", body)
		if err != nil {
			answer <- err.Error()
			return
		}
		b := make([]byte, 6)
		io.ReadFull(resp.Body, b)
		answer <- string(b)
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		answer <- fmt.Sprint(string(rest), err)
	}()
	if got := <-answer; got != "begin " {
		t.Fatalf("got %q", got)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.until(t, func() bool {
		_, err := os.Stat(filepath.Join(p.dir, ".lock"))
		return os.IsNotExist(err)
	}, "the lock file to go")
	finish.Close()
	if got := <-answer; got != "end<nil>" {
		t.Errorf("the request in flight got %q", got)
	}
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code is %d", code)
	}
	out := p.out.String()
	if done, asked := strings.Index(out, "slow is done"), strings.Index(out, "asked to end"); done < 0 || asked < done {
		t.Errorf("the server was asked to end before its request was done:\n%s", out)
	}
}

func TestSecondSignalForces(t *testing.T) {
	p := start(t, "exec_timeout=1h", "write_timeout=1h")
	p.await(t, "/_/ready", 200)
	cut := make(chan error)
	go func() {
		_, _, err := p.get("/hang")
		cut <- err
	}()
	p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 1") }, "the request to be in flight")
	p.cutOff(t, cut)
}

// value is that of a variable of the process's environment.
func (p *process) value(name string) string {
	for _, kv := range p.cmd.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func TestRefusesToStart(t *testing.T) {
	for _, tc := range []struct{ environ, want string }{
		{"mode=afterburn", `mode: "afterburn" is not one of`},
		{"mode=model", "mode=model: there is no model: put it at models/NAME/VERSION/model.onnx"},
		{"fprocess=/nonexistent/server", "/nonexistent/server"},
		{"write_timeout=0", "write_timeout"},
		{"log_file=/nonexistent/log", "log_file"},
		{"port=1x", "port:"},
		{"preload=absent", "absent"},
	} {
		p := start(t, tc.environ)
		if code := p.exit(t); code != 1 || !strings.Contains(p.out.String(), tc.want) {
			t.Errorf("%s: code %d\n%s", tc.environ, code, p.out)
		}
	}
}

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		arg  string
		code int
		want string
	}{
		{"-version", 0, ""},
		{"-help", 0, "upstream_url"},
		{"-run-healthcheck", 1, ".lock"},
		{"-unknown", 2, "-help lists"},
		{"word", 2, "-help lists"},
	} {
		cmd := exec.Command(os.Args[0], tc.arg)
		cmd.Env = []string{asWatchdog + "=1", "GORACE=atexit_sleep_ms=0", "TMPDIR=" + dir}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tc.code || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: code %d, %s", tc.arg, code, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-run-healthcheck")
	cmd.Env = []string{asWatchdog + "=1", "GORACE=atexit_sleep_ms=0", "TMPDIR=" + dir}
	if err := cmd.Run(); err != nil {
		t.Errorf("healthcheck with a lock file: %v", err)
	}
}

func TestCacheManagerAsChild(t *testing.T) {
	tools := t.TempDir()
	cachemgrd, model := filepath.Join(tools, "cachemgrd"), filepath.Join(tools, "models/digits/1/model.onnx")
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s\n", os.Args[0], asCache)
	if err := os.WriteFile(cachemgrd, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(model), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(model, []byte("model"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "cachemgr_mode=child", "listen=127.0.0.1:0", "metrics_listen=127.0.0.1:0", "cachemgr_binary="+cachemgrd, "models_path="+filepath.Join(tools, "models"))
	p.await(t, "/_/ready", 200)
	p.await(t, "/v2/models/digits/ready", 200)
	first := p.cachePid(t, 1)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := p.cachePid(t, 2)
	p.await(t, "/v2/models/digits/ready", 200)
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code is %d\n%s", code, p.out)
	}
	if err := syscall.Kill(second, 0); err == nil {
		t.Error("the cache manager is still there")
	}

	missing := start(t, "cachemgr_mode=child", "cachemgr_binary=/nonexistent/cachemgrd", "models_path="+filepath.Join(tools, "models"))
	if code := missing.exit(t); code != 1 || !strings.Contains(missing.out.String(), "cachemgr_binary") {
		t.Errorf("code %d\n%s", code, missing.out)
	}
}

// cachePid waits until the n-th cache manager has said its process id.
func (p *process) cachePid(t *testing.T, n int) (pid int) {
	t.Helper()
	p.until(t, func() bool {
		lines := strings.Split(p.out.String(), "cache manager ")
		found := 0
		for _, l := range lines[1:] {
			if _, err := fmt.Sscanf(l, "%d\n", &pid); err == nil {
				found++
			}
		}
		return found == n
	}, "the cache manager")
	return pid
}
