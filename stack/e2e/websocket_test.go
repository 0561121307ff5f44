package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestWebSocket speaks with a function through provider and watchdog.
func TestWebSocket(t *testing.T) {
	l := start(t, lab.Options{})
	deploySocket(t, l, map[string]string{"exec_timeout": "100ms"})
	c, _, err := dialSocket(l.URL)
	must(t, err)
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	large := strings.Repeat("x", 4<<20)
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; { // beyond exec_timeout
		for _, message := range []string{"hello", large} {
			must(t, c.WriteMessage(websocket.TextMessage, []byte(message)))
			if _, got, err := c.ReadMessage(); err != nil || string(got) != message {
				t.Fatalf("%d bytes came back as %d: %v", len(message), len(got), err)
			}
		}
	}
	// A function that goes takes its WebSockets along.
	must(t, l.Remove(t.Context(), "socket"))
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("it goes on")
	}
}

// TestWebSocketBehindGateway holds what docs/functions.md says of the community
// edition's gateway: it passes no upgrade on.
func TestWebSocketBehindGateway(t *testing.T) {
	gateway := os.Getenv("GATEWAY")
	if gateway == "" || os.Getenv("FAAS_CLI") == "" {
		t.Skip("GATEWAY and FAAS_CLI name no programs; `make test` builds them")
	}
	l := behindGateway(t, gateway)
	if l == nil {
		return // it has run in its namespace
	}
	deploySocket(t, l, nil)
	if c, resp, err := dialSocket(lab.GatewayURL); err == nil {
		c.Close()
		t.Error("it passes upgrades on: say so in docs/functions.md")
	} else if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		t.Errorf("got %v, %v", resp, err)
	} else {
		t.Logf("the gateway answers an upgrade with %d", resp.StatusCode)
	}
}

func deploySocket(t *testing.T, l *lab.Lab, env map[string]string) {
	t.Helper()
	build(t, l, "socket", "go-trt", "stack/e2e/testdata/socket", nil)
	vars := map[string]string{"write_timeout": "1s"} // which is how long the drain waits
	for name, value := range env {
		vars[name] = value
	}
	deploy(t, l, types.FunctionDeployment{Service: "socket", Image: "socket", EnvVars: vars})
}

func dialSocket(url string) (*websocket.Conn, *http.Response, error) {
	return websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/function/socket", nil)
}

// TestWebSocketAcrossRestart restarts the provider twice while clients speak: each
// goes on with the process that it began with.
func TestWebSocketAcrossRestart(t *testing.T) {
	l := start(t, lab.Options{})
	deploySocket(t, l, nil)
	var clients []*websocket.Conn
	for i := range 3 {
		if i > 0 {
			must(t, l.Provider.Signal(syscall.SIGUSR2))
			awaitRestarts(t, l, i)
		}
		c, _, err := dialSocket(l.URL)
		must(t, err)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		for j, c := range append(clients, c) {
			message := fmt.Sprintf("%d after %d restarts", j, i)
			must(t, c.WriteMessage(websocket.TextMessage, []byte(message)))
			if _, got, err := c.ReadMessage(); err != nil || string(got) != message {
				t.Fatalf("%q came back as %q: %v", message, got, err)
			}
		}
		clients = append(clients, c)
	}
}
