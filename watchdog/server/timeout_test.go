package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
)

func TestTimeLimit(t *testing.T) {
	for _, tc := range []struct {
		environ []string
		header  http.Header
		want    time.Duration
	}{
		{nil, nil, 30 * time.Second},
		{[]string{"exec_timeout=10s"}, nil, 10 * time.Second},
		{[]string{"exec_timeout=0"}, nil, 30 * time.Second},
		{[]string{"exec_timeout=60s"}, nil, 30 * time.Second},
		{[]string{"exec_timeout=10s"}, http.Header{"X-Timeout": {"2s"}}, 2 * time.Second},
		{[]string{"exec_timeout=10s"}, http.Header{"X-Timeout": {"20s"}}, 10 * time.Second},
		{nil, http.Header{"X-Timeout": {"soon"}}, 30 * time.Second},
		{nil, http.Header{"X-Timeout": {"-1s"}}, 30 * time.Second},
		{nil, http.Header{"X-Faas-Gpu-Deadline": {"1.5s"}, "X-Timeout": {"2s"}}, 1500 * time.Millisecond},
	} {
		cfg, err := config.Read(tc.environ, config.InProcess)
		if err != nil {
			t.Fatal(err)
		}
		if got := timeLimit(cfg, tc.header); got != tc.want {
			t.Errorf("%v %v: %v, want %v", tc.environ, tc.header, got, tc.want)
		}
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	late := make(chan error, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/deaf": // does not look at its context
			<-release
			_, err := io.WriteString(w, "too late")
			late <- err
		case "/polite":
			<-r.Context().Done()
		}
	}, "exec_timeout=50ms")
	for _, path := range []string{"/deaf", "/polite"} {
		resp, body := f.get(t, path, "X-Call-Id", "id")
		if resp.StatusCode != 504 || !strings.Contains(body, "50ms") || resp.Header.Get("X-Duration-Seconds") == "" || resp.Header.Get("X-Call-Id") != "id" {
			t.Errorf("%s: %d, %v, %q", path, resp.StatusCode, resp.Header, body)
		}
	}
	close(release)
	if err := <-late; !errors.Is(err, http.ErrHandlerTimeout) {
		t.Errorf("the late handler got %v", err)
	}
	if resp, _ := f.get(t, "/quick"); resp.StatusCode != 200 {
		t.Errorf("the next request got %d", resp.StatusCode)
	}
}

func TestTimeoutWhileTheClientIsSlowToSend(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}, "exec_timeout=50ms", "read_timeout=20s")
	resp, conn := rawRequest(t, f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	if resp.StatusCode != 504 {
		t.Errorf("status is %d", resp.StatusCode)
	}
	conn.Close()
}

func TestReadTimeout(t *testing.T) {
	failed := make(chan error, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
		http.Error(w, "body", http.StatusBadRequest)
	}, "read_timeout=50ms")
	rawRequest(t, f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	if err := <-failed; err == nil {
		t.Error("half a body was taken for a whole one")
	}
}

func TestStreamedResponseIsCutAtTheTimeout(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begin")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}, "exec_timeout=50ms")
	resp, err := f.client.Get(f.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(body) != "begin" || err == nil {
		t.Errorf("got %d, %q, %v", resp.StatusCode, body, err)
	}
}

func TestPanics(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		if r.URL.Path == "/mid" {
			io.WriteString(w, "begin")
		}
		panic("boom")
	})
	if resp, body := f.get(t, "/"); resp.StatusCode != 500 || !strings.Contains(body, "panicked") {
		t.Errorf("got %d, %q", resp.StatusCode, body)
	}
	resp, err := f.client.Get(f.url + "/mid")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("a part was taken for the whole")
	}
	poll(t, func() (string, bool) {
		s := f.lines.String()
		return s, strings.Contains(s, "boom") && strings.Contains(s, "timeout_test.go")
	})
}

func TestTrailersAndInformation(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
		http.NewResponseController(w).Flush()
	})
	resp, conn := rawRequest(t, f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if resp.StatusCode != http.StatusEarlyHints || resp.Header.Get("Link") == "" {
		t.Errorf("first comes %d, %v", resp.StatusCode, resp.Header)
	}
	conn.Close()
	full, _ := f.get(t, "/")
	if full.Trailer.Get("X-Sum") != "42" || full.Trailer.Get("X-Late") != "43" {
		t.Errorf("trailers are %v", full.Trailer)
	}
}

func TestHijack(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n")
		buf.Flush()
	})
	resp, _ := rawRequest(t, f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n")
	if resp.StatusCode != 101 {
		t.Errorf("status is %d", resp.StatusCode)
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	failed := make(chan error, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		for piece := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(piece)
		}
		failed <- err
	}, "write_timeout=50ms")
	rawRequest(t, f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // and reads no body
	select {
	case <-failed:
	case <-time.After(10 * time.Second):
		t.Error("a client that does not read holds the handler")
	}
	if resp, _ := f.get(t, "/_/health"); resp.StatusCode != 200 {
		t.Errorf("health is %d", resp.StatusCode)
	}
}

func TestTimeoutWhileTheHandlerInforms(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
		}
		for range 100 { // the 504 is on its way
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	for range 10 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Timeout: 2ms\r\n\r\n")
		all, err := io.ReadAll(conn) // a 504 closes the connection
		conn.Close()
		if err != nil || strings.Count(string(all), "HTTP/1.1 504 ") != 1 || !strings.HasSuffix(string(all), "within 2ms\n") {
			t.Fatalf("got %.200q … %v", all, err)
		}
	}
}
