package watchdog

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/internal/logline"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
	"go.uber.org/goleak"
)

// asFunction makes this test binary a function.
const asFunction = "WATCHDOG_TEST_FUNCTION"

func TestMain(m *testing.M) {
	if os.Getenv(asFunction) != "" {
		os.Exit(Main(handle))
	}
	goleak.VerifyTestMain(m)
}

// handle is the handler of the function.
func handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/print":
		fmt.Println("printed")
		log.Print("logged")
		return
	case "/crash":
		go panic("crashed on purpose")
		select {}
	case "/secret":
		v, err := Secret(r.Context(), "key")
		if err != nil {
			Error(w, err)
			return
		}
		w.Write(v)
		return
	}
	out, err := Model("digits").Infer(r.Context(), NewTensor("x", []int64{1, 2}, []float32{3, 4}))
	if err != nil {
		Error(w, err)
		return
	}
	values, err := Data[float32](out, "x")
	if err != nil {
		Error(w, err)
		return
	}
	json.NewEncoder(w).Encode(values)
	out.Release()
}

// process is a function that runs.
type process struct {
	cmd  *exec.Cmd
	url  string
	dir  string
	done chan error
}

func startFunction(t *testing.T, socket string, environ ...string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "models/digits/1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{"models/digits/1/model.onnx": "model", "key": "secret", "faas-gpu-token": "token"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port, metricsPort := freePorts(t)
	p := &process{cmd: exec.Command(os.Args[0]), dir: dir, url: "http://127.0.0.1:" + port, done: make(chan error, 1)}
	p.cmd.Dir = dir
	// The race detector would have every process sleep a second at its end.
	p.cmd.Env = append([]string{asFunction + "=1", "GORACE=atexit_sleep_ms=0", "port=" + port, "bind=127.0.0.1", "metrics_port=" + metricsPort, "TMPDIR=" + dir,
		"secret_mount_path=" + dir, "cachemgr_socket=" + socket, "log_file=" + p.log()}, environ...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

func (p *process) log() string { return filepath.Join(p.dir, "log") }

// freePorts are two ports that are free and differ.
func freePorts(t *testing.T) (string, string) {
	t.Helper()
	var ports [2]string
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports[i] = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	}
	return ports[0], ports[1]
}

func (p *process) await(t *testing.T, path string, status int) (*http.Response, string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(p.url + path)
		text := fmt.Sprint(err)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == status {
				return resp, string(body)
			}
			text = fmt.Sprintf("%d: %s", resp.StatusCode, body)
		}
		if time.Now().After(deadline) {
			logged, _ := os.ReadFile(p.log())
			t.Fatalf("%s is still %s\n%s", path, text, logged)
		}
	}
}

// exit waits for the process to end and returns its code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		t.Fatal("the function does not end")
		return 0
	}
}

func TestFunctionFromStartToEnd(t *testing.T) {
	s := fakecache.Start(t, filepath.Join(t.TempDir(), "s"))
	p := startFunction(t, s.Socket)
	p.await(t, "/_/ready", 200)
	resp, body := p.await(t, "/", 200)
	if strings.TrimSpace(body) != "[3,4]" || resp.Header.Get(api.HeaderCache) != "swap" || resp.Header.Get(api.HeaderEngine) != "echo" || api.ParseTiming(resp.Header.Get(api.HeaderTiming)).Swap != 2*time.Millisecond {
		t.Errorf("answer is %q, %v", body, resp.Header)
	}
	if auth := s.Headers()[0].Get("Authorization"); auth != "Bearer token" {
		t.Errorf("authorization is %q", auth)
	}
	if _, body := p.await(t, "/secret", 200); body != "secret" {
		t.Errorf("secret is %q", body)
	}
	if _, body := p.await(t, "/_/cache", 200); !strings.Contains(body, `"node":"fake"`) {
		t.Errorf("cache is %s", body)
	}
	p.await(t, "/v2/models/digits/ready", 200)
	p.await(t, "/print", 200)
	t.Logf("resident memory with one model, idle: %d KiB", residentKiB(t, p.cmd.Process.Pid))

	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code is %d", code)
	}
	if _, err := os.Stat(filepath.Join(p.dir, ".lock")); err == nil {
		t.Error("the lock file is still there")
	}
	content, _ := os.ReadFile(p.log())
	for line := range strings.Lines(string(content)) {
		if _, _, ok := logline.Parse(strings.TrimSuffix(line, "\n")); !ok {
			t.Errorf("a line without stamp: %q", line)
		}
	}
	for _, want := range []string{" printed\n", " logged\n", " GET /print - 200 OK - "} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %q in the log:\n%s", want, content)
		}
	}
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCrashIsInTheLog(t *testing.T) {
	s := fakecache.Start(t, filepath.Join(t.TempDir(), "s"))
	p := startFunction(t, s.Socket)
	p.await(t, "/_/ready", 200)
	if resp, err := http.Get(p.url + "/crash"); err == nil {
		resp.Body.Close()
		t.Errorf("the crash answered %d", resp.StatusCode)
	}
	if code := p.exit(t); code != 2 {
		t.Errorf("exit code is %d", code)
	}
	content, _ := os.ReadFile(p.log())
	if !strings.Contains(string(content), "\npanic: crashed on purpose") {
		t.Errorf("no trace in\n%s", content)
	}
}

func TestCacheManagerThatComesLater(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	p := startFunction(t, socket, "cachemgr_wait=20ms")
	p.await(t, "/_/health", 200)
	if _, body := p.await(t, "/_/ready", 503); !strings.Contains(body, "models cannot be used now") {
		t.Errorf("ready says %q", body)
	}
	resp, body := p.await(t, "/", 503)
	if resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `model \"digits\"`) {
		t.Errorf("answer is %v, %s", resp.Header, body)
	}
	fakecache.Start(t, socket)
	p.await(t, "/_/ready", 200)
	p.await(t, "/", 200)
}

func TestBadModelsAreNamed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	fakecache.Start(t, socket)
	p := startFunction(t, socket, "models_path=broken", "cachemgr_wait=20ms")
	p.await(t, "/_/ready", 200) // the folder is not there: a function without models
	if err := os.MkdirAll(filepath.Join(p.dir, "broken/digits/one"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.exit(t)
	again := startFunction(t, socket, "models_path="+filepath.Join(p.dir, "broken"))
	if _, body := again.await(t, "/_/ready", 503); !strings.Contains(body, "models/digits/one: a version is a number") {
		t.Errorf("ready says %q", body)
	}
}
