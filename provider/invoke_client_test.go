package provider

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
)

// dial opens a connection to the provider that the test speaks on itself.
func (b *bench) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// An intermediary that sends many clients' requests over one connection relies
// on it that the rest of a body is never read as a request.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.WriteString(w, "early")
		http.NewResponseController(w).Flush() // so that the client sees the end
	})
	c := b.dial(t)
	const inside = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	io.WriteString(c, "POST /function/digits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "early" || err != nil || !resp.Close {
		t.Errorf("got %q, %v, closed: %v", body, err, resp.Close)
	}
	io.WriteString(c, inside)
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("a body was answered as a request: %q", rest)
	}
}

// A client that was answered early is still sending: it must get the answer, and
// a body that has come whole must not cost it its connection.
func TestEarlyAnswerArrives(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			http.NewResponseController(w).EnableFullDuplex()
		} else {
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(w, "answer")
	})
	for path, closes := range map[string]bool{"/early": true, "/late": false} {
		c := b.dial(t)
		io.WriteString(c, "POST /function/digits"+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
		sent := make(chan error, 1)
		go func() { _, err := io.CopyN(c, zeros{}, 4000000); sent <- err }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "answer" || err != nil || resp.Close != closes {
			t.Errorf("%s: got %q, %v, closed: %v", path, body, err, resp.Close)
		}
		if err := <-sent; err != nil && !closes {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is open to everybody must not let anybody keep connections for ever.
func TestBodyThatNeverComes(t *testing.T) {
	b := start(t, newFakeRuntime(), withCredentials, func(c *Config, _ *benchConfig) { c.Limits.BodyTimeout = 50 * time.Millisecond })
	for _, request := range []string{"GET /healthz", "POST /api/v1/query", "POST /system/functions", "GET /nothing", "POST /async-function/x", "POST /function/x"} {
		c := b.dial(t)
		io.WriteString(c, request+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\n")
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: the connection stays: %v", request, err)
		}
	}
}

func TestClientThatTakesNothingHoldsNoReplica(t *testing.T) {
	brief := func(c *Config, _ *benchConfig) { c.Limits.BodyTimeout = 50 * time.Millisecond }
	b := start(t, newFakeRuntime(replica(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			io.CopyN(w, zeros{}, 64<<20)
		}
	})), brief)
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"max_inflight": "1"} }, 1)
	c := b.dial(t)
	io.WriteString(c, "GET /function/digits/large HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
		t.Fatal(err) // it has the replica now
	}
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != 200 {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
