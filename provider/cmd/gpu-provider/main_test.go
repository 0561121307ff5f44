package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// programVariable makes the test program gpu-provider itself.
const programVariable = "GPU_PROVIDER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

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
		c.nodeLabels["zone"] != "a" || c.nodeLabels["gpu"] != "true=1" {
		t.Errorf("%+v", d)
	}
	if logLevel(nil) != slog.LevelInfo || logLevel([]string{"log_level=debug"}) != slog.LevelDebug {
		t.Error("log_level is not what is logged")
	}
	for want, value := range map[string]string{
		"gpu_driver": "gpu_driver=magic", "node_labels": "node_labels=zone",
		"policy": "policy=best", "o3_limit": "o3_limit=few", "log_level": "log_level=loud",
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
		if err := command(t.Context(), []string{"gpu-provider", flag}, nil, &out, nil); err != nil || !strings.Contains(out.String(), "state_dir") {
			t.Errorf("%s: %v, %s", flag, err, out.String())
		}
	}
	if err := command(t.Context(), []string{"gpu-provider", "-port=1"}, nil, &out, nil); err == nil || !strings.Contains(err.Error(), "-port=1") {
		t.Errorf("another argument: %v", err)
	}
}

// started is the program, which runs.
type started struct {
	cmd  *exec.Cmd
	logs *bufio.Scanner
	url  string
}

// startProgram starts the program and waits until it serves.
func startProgram(t *testing.T, environ ...string) *started {
	t.Helper()
	p := &started{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append([]string{programVariable + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")}, environ...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.logs = bufio.NewScanner(stderr)
	p.url = p.await(t, `url=(http://\S+)`)
	return p
}

// await reads the logs up to a line, and returns what the expression finds in it.
func (p *started) await(t *testing.T, expression string) string {
	t.Helper()
	re := regexp.MustCompile(expression)
	var read []string
	for p.logs.Scan() {
		read = append(read, p.logs.Text())
		if m := re.FindStringSubmatch(p.logs.Text()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("%s is not in the logs:\n%s", expression, strings.Join(read, "\n"))
	return ""
}

func (p *started) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// list asks for the functions as a user.
func (p *started) list(t *testing.T, user, password string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest("GET", p.url+"/system/functions", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestServeRestartAndEnd(t *testing.T) {
	dir := t.TempDir()
	p := startProgram(t, "port=0", "state_dir="+dir, "cachemgr_socket="+filepath.Join(dir, "none.sock"))
	text, err := os.ReadFile(filepath.Join(dir, "basic-auth-password"))
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(text))
	if status, _ := p.list(t, "", password); status != http.StatusUnauthorized {
		t.Errorf("without a user: %d", status)
	}
	for range 2 {
		if status, body := p.list(t, "admin", password); status != http.StatusOK || body != "[]" {
			t.Errorf("got %d %s", status, body)
		}
		p.signal(t, syscall.SIGUSR2)
		p.await(t, `"(restarted): `)
	}

	// What takes the state, when it was given up, cannot.
	journal := filepath.Join(dir, "process", "functions")
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGUSR2)
	p.await(t, `"(not restarted): `)
	p.signal(t, syscall.SIGTERM)
	for p.logs.Scan() { // to its end
	}
	if err := p.cmd.Wait(); err == nil {
		t.Error("the former process could not take its state again either, and no error")
	}
}

func TestEnds(t *testing.T) {
	dir := t.TempDir()
	p := startProgram(t, "port=0", "state_dir="+dir, "cachemgr_socket="+filepath.Join(dir, "none.sock"))
	p.signal(t, syscall.SIGTERM)
	for p.logs.Scan() { // to its end
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRefusesToStart wants the reason once, whichever of the processes has it.
func TestRefusesToStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, variable := range map[string]string{
		"not a port": "port=70000", "not a directory": "state_dir=" + file,
		"set port to a free one": fmt.Sprintf("port=%d", taken.Addr().(*net.TCPAddr).Port),
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{programVariable + "=1", "GORACE=atexit_sleep_ms=0", "port=0", variable}
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(out), want) != 1 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v\n%s", variable, err, out)
		}
	}
}
