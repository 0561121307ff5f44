package provider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/openfaas/faas-provider/types"
)

// echoMessages is a WebSocket server that says back what it hears.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"chat"}}
	c, err := up.Upgrade(w, r, http.Header{"X-Path": {r.RequestURI}, "X-Seen-Call-Id": {r.Header.Get("X-Call-Id")}})
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func (b *bench) websocket(t *testing.T, path string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"chat"}, HandshakeTimeout: 5 * time.Second}
	c, resp, err := dialer.Dial("ws"+strings.TrimPrefix(b.url, "http")+path, http.Header{"X-Call-Id": {"id-1"}})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, resp, err
}

func exchange(c *websocket.Conn, message string) error {
	if err := c.WriteMessage(websocket.BinaryMessage, []byte(message)); err != nil {
		return err
	}
	_, got, err := c.ReadMessage()
	if err == nil && string(got) != message {
		err = fmt.Errorf("sent %d bytes, got %d", len(message), len(got))
	}
	return err
}

func TestWebSocket(t *testing.T) {
	b := digits(t, echoMessages)
	c, resp, err := b.websocket(t, "/function/digits/chat?room=1")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("X-Path") != "/chat?room=1" || resp.Header.Get("X-Seen-Call-Id") != "id-1" || resp.Header.Get("X-Call-Id") != "id-1" || c.Subprotocol() != "chat" {
		t.Errorf("switched with %v", resp.Header)
	}
	for _, message := range []string{"hello", strings.Repeat("x", 1<<20), ""} {
		if err := exchange(c, message); err != nil {
			t.Fatal(err)
		}
	}
	// The replica's word of farewell arrives.
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")
	if err := c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	var closed *websocket.CloseError
	if _, _, err := c.ReadMessage(); !errors.As(err, &closed) || closed.Code != websocket.CloseNormalClosure {
		t.Errorf("got %v", err)
	}
}

// A replica with room for one is busy as long as a WebSocket is open.
func TestWebSocketHoldsItsReplica(t *testing.T) {
	b := start(t, newFakeRuntime(replica(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoMessages(w, r)
		}
	})), func(_ *Config, b *benchConfig) { b.wait = 50 * time.Millisecond })
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"max_inflight": "1"} }, 1)
	c, _, err := b.websocket(t, "/function/digits")
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil)); resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	c.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica is still busy: %d %s", resp.StatusCode, body)
		}
	}
}

func TestWebSocketRefused(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "not here", http.StatusForbidden) })
	_, resp, err := b.websocket(t, "/function/digits")
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("got %v, %v", resp, err)
	}
	if _, resp, err := b.websocket(t, "/function/absent"); err == nil || resp == nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestIdleWebSocketIsClosed(t *testing.T) {
	b := start(t, newFakeRuntime(replica(t, echoMessages)), func(c *Config, _ *benchConfig) { c.Limits.UpgradeIdle = 50 * time.Millisecond })
	b.deployed(t, nil, 1)
	c, _, err := b.websocket(t, "/function/digits")
	if err != nil {
		t.Fatal(err)
	}
	if err := exchange(c, "hello"); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var late net.Error
	if _, _, err := c.ReadMessage(); err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("got %v", err)
	}
}

func TestDrainOfWebSockets(t *testing.T) {
	b := digits(t, echoMessages)
	stays, _, err := b.websocket(t, "/function/digits")
	if err != nil {
		t.Fatal(err)
	}
	ends, _, err := b.websocket(t, "/function/digits")
	if err != nil {
		t.Fatal(err)
	}
	ends.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(ctx) }()
	if err := exchange(stays, "still here"); err != nil {
		t.Error("before the time is over:", err)
	}
	if err := <-drained; err == nil || !strings.Contains(err.Error(), "1 upgraded connections were cut off") {
		t.Errorf("got %v", err)
	}
	if _, _, err := stays.ReadMessage(); err == nil {
		t.Error("it goes on")
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Errorf("with none left: %v", err)
	}
	if c, _, err := b.websocket(t, "/function/digits"); err == nil {
		c.Close()
		t.Error("another one may begin")
	}
}

// Any protocol may be switched to; what the client sends at once is not lost, and
// one side may end before the other.
func TestOtherProtocol(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" || r.Header.Get("Connection") != "Upgrade" {
			http.Error(w, fmt.Sprint(r.Header), http.StatusBadRequest)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, upgrade\r\nUpgrade: Echo\r\n\r\n")
		rw.Flush()
		all, _ := io.ReadAll(rw)
		fmt.Fprintf(c, "all of %q", all)
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /function/digits HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: echo\r\n\r\nearly ")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "Echo" {
		t.Fatalf("got %v, %v", resp, err)
	}
	io.WriteString(c, "and late")
	c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r); string(rest) != `all of "early and late"` || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

// A replica that switches without being asked, or to something else, has failed.
func TestUnwantedSwitch(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
	})
	for _, header := range []string{"", "websocket"} {
		r := b.request(t, "GET", "/function/digits", nil)
		if header != "" {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", header)
		}
		resp, body := b.ask(t, r)
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, `switched to protocol "other"`) {
			t.Errorf("%q: %d %s", header, resp.StatusCode, body)
		}
	}
}
