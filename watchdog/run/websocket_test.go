package run

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func (p *process) websocket(t *testing.T) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(p.url, "http")+"/socket", nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.out)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c
}

func wantEcho(t *testing.T, c *websocket.Conn, message string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); err != nil || string(got) != message {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A WebSocket outlives the time limit of requests, counts as one that runs, and
// has until write_timeout at the end.
func TestWebSocket(t *testing.T) {
	p := start(t, "exec_timeout=100ms", "max_inflight=2", "write_timeout=500ms")
	p.await(t, "/_/ready", 200)
	first, second := p.websocket(t), p.websocket(t)
	wantEcho(t, first, "hello")
	p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 2") }, "both to be counted")
	if resp, _ := p.send(t, "GET", "/", ""); resp.StatusCode != 429 {
		t.Errorf("beyond max_inflight: %d", resp.StatusCode)
	}
	connected := time.Now()
	for time.Since(connected) < 300*time.Millisecond {
		wantEcho(t, first, "beyond exec_timeout")
	}
	second.Close()
	p.until(t, func() bool { return strings.Contains(p.metrics(t), "http_requests_in_flight 1") }, "one to have ended")

	p.cmd.Process.Signal(syscall.SIGTERM)
	p.until(t, func() bool {
		_, err := os.Stat(filepath.Join(p.dir, ".lock"))
		return os.IsNotExist(err)
	}, "the lock file to go")
	wantEcho(t, first, "while it drains")
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	if _, _, err := first.ReadMessage(); err == nil {
		t.Error("it goes on")
	}
	if !strings.Contains(p.out.String(), "GET /socket - 101 Switching Protocols") {
		t.Errorf("no line of the WebSocket that has ended in\n%s", p.out)
	}
}

// The end of the last one is the end of the drain.
func TestDrainEndsWithTheLastWebSocket(t *testing.T) {
	p := start(t, "write_timeout=1h")
	p.await(t, "/_/ready", 200)
	c := p.websocket(t)
	wantEcho(t, c, "hello")
	p.cmd.Process.Signal(syscall.SIGTERM)
	c.Close()
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
}

func TestIdleWebSocketIsClosed(t *testing.T) {
	p := start(t, "upgrade_idle_timeout=100ms")
	p.await(t, "/_/ready", 200)
	c := p.websocket(t)
	wantEcho(t, c, "hello")
	var late net.Error
	if _, _, err := c.ReadMessage(); err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("got %v", err)
	}
}
