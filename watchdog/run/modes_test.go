package run

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mode is one mode of a watchdog and what it answers to POST / with "input".
type mode struct {
	environ []string
	method  string // to ask with
	want    string // in the answer to it
	header  string // Content-Type
	// sleeps is a command that answers after more than the test's limit; "": the mode
	// starts none.
	sleeps string
}

func modes(t *testing.T) map[string]mode {
	t.Helper()
	pages := t.TempDir()
	if err := os.WriteFile(filepath.Join(pages, "index.html"), []byte("<p>page"), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]mode{
		"streaming":   {[]string{"mode=streaming", "fprocess=cat"}, "POST", "input", "application/octet-stream", "sleep 600"},
		"serializing": {[]string{"mode=serializing", "fprocess=tr a-z A-Z", "content_type=text/plain"}, "POST", "INPUT", "text/plain", "sleep 600"},
		"http":        {[]string{"mode=http"}, "POST", "POST / pid", "text/plain; charset=utf-8", ""},
		"static":      {[]string{"mode=static", "fprocess=", "static_path=" + pages}, "GET", "<p>page", "text/html; charset=utf-8", ""},
	}
}

func (p *process) send(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.out)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// metrics is the watchdog's page of them.
func (p *process) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1:" + p.value("metrics_port") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What of-watchdog documents holds in every mode.
func TestModes(t *testing.T) {
	for name, m := range modes(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, append(m.environ, "log_callid=true")...)
			p.await(t, "/_/ready", 200)
			if resp, body := p.send(t, "GET", "/_/health", ""); resp.StatusCode != 200 || body != "OK" {
				t.Errorf("health: %d %q", resp.StatusCode, body)
			}
			if resp, _ := p.send(t, "POST", "/_/health", ""); resp.StatusCode != 405 {
				t.Errorf("POST of health: %d", resp.StatusCode)
			}
			resp, body := p.send(t, m.method, "/", "input", "X-Call-Id", "id-1")
			if resp.StatusCode != 200 || !strings.Contains(body, m.want) || resp.Header.Get("Content-Type") != m.header {
				t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
			if resp.Header.Get("X-Duration-Seconds") == "" || resp.Header.Get("X-Call-Id") != "id-1" {
				t.Errorf("headers %v", resp.Header)
			}
			metrics := p.metrics(t)
			for _, want := range []string{
				fmt.Sprintf(`http_requests_total{code="200",method="%s"} 1`, strings.ToLower(m.method)),
				"http_request_duration_seconds_bucket{", "http_requests_in_flight 0",
			} {
				if !strings.Contains(metrics, want) {
					t.Errorf("no %s in the metrics", want)
				}
			}
			if want := m.method + " / - 200 OK - ContentLength: "; !strings.Contains(p.out.String(), want) || !strings.Contains(p.out.String(), "[id-1]\n") {
				t.Errorf("no line %q", want)
			}
			lock := filepath.Join(p.dir, ".lock")
			if _, err := os.Stat(lock); err != nil {
				t.Error(err)
			}
			p.cmd.Process.Signal(syscall.SIGTERM)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.out)
			}
			if _, err := os.Stat(lock); err == nil {
				t.Error("the lock file is left")
			}
		})
	}
}

// Limits of time and number, where a process is started for each request.
func TestForkLimits(t *testing.T) {
	for name, m := range modes(t) {
		if m.sleeps == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := start(t, append(m.environ, "fprocess="+m.sleeps, "max_inflight=1")...)
			p.await(t, "/_/ready", 200)
			resp, body := p.send(t, "POST", "/", "", "X-Timeout", "50ms")
			if resp.StatusCode != 504 || resp.Header.Get("X-Duration-Seconds") == "" || !strings.Contains(body, "50ms") {
				t.Errorf("timeout: %d %q", resp.StatusCode, body)
			}
			p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 0") }, "the process to be gone")
			first := make(chan error)
			go func() {
				resp, err := http.Post(p.url, "", nil)
				if err == nil {
					resp.Body.Close()
				}
				first <- err
			}()
			p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 1") }, "the request to run")
			resp, body = p.send(t, "POST", "/", "")
			if resp.StatusCode != 429 || resp.Header.Get("X-OpenFaaS-Internal") != "faas-middleware" || !strings.Contains(body, "Concurrent request limit exceeded") {
				t.Errorf("limit: %d %q", resp.StatusCode, body)
			}
			p.await(t, "/_/ready", 429)
			if resp, _ := p.send(t, "GET", "/_/health", ""); resp.StatusCode != 200 {
				t.Errorf("a busy function is not healthy: %d", resp.StatusCode)
			}
			p.cutOff(t, first)
		})
	}
}

// A body that comes too slowly, or breaks off, is the client's fault, and is said
// to be.
func TestBodiesThatDoNotCome(t *testing.T) {
	for name, m := range modes(t) {
		if name == "static" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			environ := append(m.environ, "read_timeout=200ms")
			if name == "streaming" {
				environ = append(environ, "fprocess=wc -c") // which answers at the end
			}
			p := start(t, environ...)
			p.await(t, "/_/ready", 200)
			for _, breaksOff := range []bool{false, true} {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
				want := "HTTP/1.1 408 "
				if breaksOff {
					conn.(*net.TCPConn).CloseWrite()
					want = "HTTP/1.1 400 "
				}
				answer, err := io.ReadAll(conn)
				conn.Close()
				if !strings.HasPrefix(string(answer), want) {
					t.Errorf("breaks off %v: got %q, %v", breaksOff, answer, err)
				}
			}
		})
	}
}

// A client that reads nothing keeps neither a process nor its place.
func TestClientThatReadsNothing(t *testing.T) {
	p := start(t, "mode=streaming", "fprocess=yes", "exec_timeout=200ms", "write_timeout=400ms", "max_inflight=1")
	p.await(t, "/_/ready", 200)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\n\r\n")
	p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 1") }, "the request to run")
	p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 0") }, "its place to be free")
}

// A process that runs at SIGTERM gets its time.
func TestForkDrains(t *testing.T) {
	script := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nread line\necho finished $line\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"streaming", "serializing"} {
		p := start(t, "mode="+name, "fprocess="+script)
		p.await(t, "/_/ready", 200)
		body, write := io.Pipe()
		answer := make(chan string)
		go func() {
			resp, err := http.Post(p.url, "", body)
			if err != nil {
				answer <- err.Error()
				return
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			answer <- fmt.Sprint(resp.StatusCode, " ", string(b), err)
		}()
		p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 1") }, "the request to run")
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.until(t, func() bool {
			_, err := os.Stat(filepath.Join(p.dir, ".lock"))
			return os.IsNotExist(err)
		}, "the lock file to go")
		io.WriteString(write, "well\n")
		write.Close()
		if got := <-answer; got != "200 finished well\n<nil>" {
			t.Errorf("%s: got %q", name, got)
		}
		if code := p.exit(t); code != 0 {
			t.Errorf("%s: exit code %d\n%s", name, code, p.out)
		}
	}
}
