package provider

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestInvokeLargeBodies(t *testing.T) {
	var most atomic.Int64 // chunks seen before the whole body had been sent
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		most.Store(n)
		fmt.Fprint(w, n, err)
	})
	for _, size := range []int64{100 << 10, 1 << 20, 1<<20 + 1, 20 << 20} {
		for _, length := range []int64{size, -1} {
			r := b.request(t, "POST", "/function/digits", io.LimitReader(zeros{}, size))
			r.ContentLength = length
			r.Header.Set("Expect", "100-continue")
			if resp, body := b.ask(t, r); resp.StatusCode != 200 || body != fmt.Sprint(size, " <nil>") {
				t.Errorf("%d bytes, length %d: got %d %q", size, length, resp.StatusCode, body)
			}
		}
	}
	if used := b.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes of body memory are not given back", used)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestInvokeLargeBodyIsNotReadWhole(t *testing.T) {
	began := make(chan struct{})
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 10))
		close(began)
		io.Copy(io.Discard, r.Body)
	})
	pr, pw := io.Pipe()
	r := b.request(t, "POST", "/function/digits", pr)
	r.ContentLength = 2 << 20
	done := make(chan int, 1)
	go func() {
		resp, err := b.client.Do(r)
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	pw.Write(make([]byte, 64<<10))
	<-began // the function runs although most of the body is still to come
	io.CopyN(pw, zeros{}, 2<<20-64<<10)
	pw.Close()
	if status := <-done; status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestInvokeTooLarge(t *testing.T) {
	limit := func(c *Config, _ *benchConfig) { c.Limits.Body = 1 << 20; c.Limits.Buffered = 1 << 10 }
	b := digits(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, limit)
	for _, length := range []int64{2 << 20, -1} {
		r := b.request(t, "POST", "/function/digits", io.LimitReader(zeros{}, 2<<20))
		r.ContentLength = length
		r.Header.Set("Expect", "100-continue")
		resp, body := b.ask(t, r)
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "1048576") {
			t.Errorf("length %d: got %d %q", length, resp.StatusCode, body)
		}
	}
}

func TestInvokeBodyMemoryIsBounded(t *testing.T) {
	little := func(c *Config, _ *benchConfig) { c.Limits.Budget = 1 << 14 }
	b := digits(t, echo, little)
	for _, size := range []int{1 << 13, 1 << 15} { // the second one is streamed
		resp, body := b.ask(t, b.request(t, "POST", "/function/digits", bytes.NewReader(make([]byte, size))))
		if resp.StatusCode != 200 || len(body) != size {
			t.Errorf("got %d with %d bytes", resp.StatusCode, len(body))
		}
	}
}

// raw sends bytes and returns all that comes back until the connection closes.
func (b *bench) raw(t testing.TB, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

func TestInvokeTruncatedBody(t *testing.T) {
	var served atomic.Int64
	b := digits(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			served.Add(1)
		}
	})
	for name, request := range map[string]string{
		"buffered": "POST /function/digits HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
		"streamed": "POST /function/digits HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nabc",
		"chunked":  "POST /function/digits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		if answer := b.raw(t, request); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 400") {
			t.Errorf("%s: got %q", name, answer)
		}
	}
	if served.Load() != 0 {
		t.Error("the function took half a body for a whole one")
	}
}

func TestInvokeSlowBody(t *testing.T) {
	brief := func(c *Config, _ *benchConfig) { c.Limits.BodyTimeout = 20 * time.Millisecond }
	b := digits(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, brief)
	for _, length := range []int64{10, 2 << 20, -1} {
		pr, pw := io.Pipe()
		r := b.request(t, "POST", "/function/digits", pr)
		r.ContentLength = length
		go pw.Write([]byte("abc"))
		resp, body := b.ask(t, r)
		if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, "20ms") {
			t.Errorf("length %d: got %d %q", length, resp.StatusCode, body)
		}
		pw.Close()
	}
}

func TestReplicaAnswersBeforeTheBodyCame(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, "no", http.StatusForbidden)
	})
	for _, length := range []int64{900 << 10, 8 << 20} {
		r := b.request(t, "POST", "/function/digits", io.LimitReader(zeros{}, length))
		r.ContentLength = length
		resp, err := b.client.Do(r)
		if err != nil {
			continue // the connection was closed while it was written to
		}
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%d bytes: got %d", length, resp.StatusCode)
		}
		resp.Body.Close()
	}
	until(t, func() bool { return b.bodies.used.Load() == 0 })
}
