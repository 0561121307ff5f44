package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestResponses(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"
	cases := map[string]struct {
		answer string
		status int
		body   string
		err    error // of Do
		broken bool  // the body breaks off
	}{
		"length":           {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", status: 200, body: "hi"},
		"chunked":          {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", status: 200, body: "hi"},
		"until it closes":  {answer: "HTTP/1.0 200 OK\r\n\r\nhi", status: 200, body: "hi"},
		"nothing":          {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204},
		"announced":        {answer: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", status: 200, body: "hi"},
		"not HTTP":         {answer: "hello\r\n\r\n", err: ErrFailed},
		"silence":          {answer: "", err: ErrFailed},
		"half a head":      {answer: "HTTP/1.1 200 OK\r\nConte", err: ErrFailed},
		"switched":         {answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", err: ErrFailed},
		"status 0":         {answer: "HTTP/1.1 000 X\r\n\r\n", err: ErrFailed},
		"endless head":     {answer: long, err: ErrFailed},
		"two lengths":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", err: ErrFailed},
		"half a body":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", status: 200, body: "hi", broken: true},
		"half of a chunk":  {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", status: 200, body: "hi", broken: true},
		"no last chunk":    {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", status: 200, body: "hi", broken: true},
		"a chunk too many": {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n", status: 200, body: "hi", broken: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			address := speaker(t, says(c.answer, true))
			resp, err := client(t, nil).Do(t.Context(), address, get("/"))
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			defer resp.Close()
			body, err := io.ReadAll(resp)
			if resp.StatusCode != c.status || string(body) != c.body || (err != nil) != c.broken {
				t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
			}
			if c.broken && !errors.Is(err, ErrFailed) {
				t.Errorf("broke off with %v", err)
			}
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var connections atomic.Int64
	answer := says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false)
	address := speaker(t, func(n int, c net.Conn, r *bufio.Reader) { connections.Add(1); answer(n, c, r) })
	c := client(t, nil)
	bodies := [][]byte{nil, []byte("small"), make([]byte, 300<<10)}
	for range 5 {
		for _, body := range bodies {
			resp, err := c.Do(t.Context(), address, &Request{Method: "POST", Target: "/", Body: body})
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp)
			resp.Close()
			resp.Close() // twice is once
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 15 requests, one after the other", n)
	}
	resp, err := c.Do(t.Context(), address, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Close() // not read to its end
	if resp, err = c.Do(t.Context(), address, get("/")); err != nil {
		t.Fatal(err)
	}
	resp.Close()
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections, want a new one after an unread response", n)
	}
}

func TestDeadConnectionIsNotUsed(t *testing.T) {
	hungUp := make(chan struct{}, 1)
	address := speaker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true)(0, c, r)
		c.Close()
		hungUp <- struct{}{}
	})
	c := client(t, nil)
	for range 3 {
		resp, err := c.Do(t.Context(), address, get("/"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp)
		resp.Close()
		<-hungUp
	}
}

func TestNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	if _, err := client(t, nil).Do(t.Context(), address, get("/")); !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
}

// TestRequestsTimeout lets a replica be silent for longer where a request says so,
// on an unused connection too, and for no longer with the next one.
func TestRequestsTimeout(t *testing.T) {
	proceed := make(chan struct{})
	address := speaker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for range 2 {
			http.ReadRequest(r)
			<-proceed
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}
		io.Copy(io.Discard, r) // until the other side closes
	})
	c := client(t, func(c *Config) { c.Timeout = 20 * time.Millisecond })
	patient := get("/")
	patient.Timeout = 20 * time.Second
	for range 2 {
		time.AfterFunc(60*time.Millisecond, func() { proceed <- struct{}{} })
		resp, err := c.Do(t.Context(), address, patient)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp); err != nil || string(body) != "hi" {
			t.Errorf("got %q, %v", body, err)
		}
		resp.Close()
	}
	if _, err := c.Do(t.Context(), address, get("/")); !errors.Is(err, ErrTimeout) {
		t.Errorf("the next one: %v", err)
	}
}

func TestSilenceIsATimeout(t *testing.T) {
	brief := func(c *Config) { c.Timeout = 20 * time.Millisecond }
	for name, answer := range map[string]string{"": "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi": "hi"} {
		address := speaker(t, func(_ int, c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, name)
			io.Copy(io.Discard, r) // until the other side closes
		})
		resp, err := client(t, brief).Do(t.Context(), address, get("/"))
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp)
			resp.Close()
			if string(body) != answer {
				t.Errorf("got %q", body)
			}
		}
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v", err)
		}
	}
}

func TestContextEndsTheExchange(t *testing.T) {
	closed := make(chan struct{}, 1)
	address := speaker(t, func(_ int, c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.Copy(io.Discard, r)
		closed <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := client(t, nil).Do(ctx, address, get("/")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-closed
}

// failing is a body that breaks off.
type failing struct{ after int }

func (f *failing) Read(b []byte) (int, error) {
	if f.after == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(f.after, len(b))
	f.after -= n
	return n, nil
}

func TestBrokenBodyIsTheClientsFault(t *testing.T) {
	whole := make(chan bool, 1)
	address := speaker(t, func(_ int, _ net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		whole <- err == nil
	})
	for _, length := range []int64{100, -1} {
		_, err := client(t, nil).Do(t.Context(), address, &Request{Method: "POST", Target: "/", Stream: &failing{10}, Length: length})
		if !errors.Is(err, ErrBody) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("length %d: got %v", length, err)
		}
		if <-whole {
			t.Errorf("length %d: the replica took it for a whole body", length)
		}
	}
}

func TestRequestHead(t *testing.T) {
	r := &Request{
		Method: "POST", Target: "/a?b",
		Header: http.Header{
			"Connection": {"X-Hop, keep-alive"}, "X-Hop": {"1"}, "Keep-Alive": {"5"}, "Te": {"trailers"}, "Host": {"evil"},
			"Content-Length": {"99"}, "Transfer-Encoding": {"chunked"}, "Expect": {"100-continue"}, "X-Mine": {"theirs"}, "X-Gone": {"1"}, "X-Two": {"1", "2"},
		},
		Set:  []Field{{"X-Mine", "ours"}, {"X-Gone", ""}},
		Body: []byte("hello"),
	}
	got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.appendHead(nil, "h:1"))))
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Content-Length": {"5"}, "X-Mine": {"ours"}, "X-Two": {"1", "2"}}
	if got.Host != "h:1" || got.RequestURI != "/a?b" || len(got.Header) != len(want) || got.Header.Get("X-Mine") != "ours" ||
		len(got.Header["X-Two"]) != 2 || got.ContentLength != 5 {
		t.Errorf("got %s %s %v", got.Host, got.RequestURI, got.Header)
	}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Method: "GET"}, ""},
		{Request{Method: "POST"}, "Content-Length: 0\r\n"},
		{Request{Method: "GET", Body: []byte("x")}, "Content-Length: 1\r\n"},
		{Request{Method: "PUT", Stream: &failing{}, Length: 7}, "Content-Length: 7\r\n"},
		{Request{Method: "GET", Stream: &failing{}, Length: -1}, "Transfer-Encoding: chunked\r\n"},
	} {
		if got := string(c.r.appendLength(nil)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.r.Method, got, c.want)
		}
	}
}

// A head of the largest size that a server takes must not cost seconds.
func TestRequestHeadOfManyHeadersIsQuick(t *testing.T) {
	h := http.Header{"Connection": {strings.Repeat("a,", 200_000) + " x5"}}
	for i := range 60_000 {
		h["X"+strconv.Itoa(i)] = []string{"1"}
	}
	began := time.Now()
	head := (&Request{Method: "GET", Target: "/", Header: h}).appendHead(nil, "x")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := bytes.Count(head, []byte("\r\nX")); n != 60_000-1 || bytes.Contains(head, []byte("\r\nX5:")) {
		t.Errorf("%d headers are left", n)
	}
}

func TestUnusedConnectionsAreClosed(t *testing.T) {
	closed := make(chan struct{}, 1)
	address := speaker(t, func(n int, c net.Conn, r *bufio.Reader) {
		says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false)(n, c, r)
		closed <- struct{}{}
	})
	c := client(t, func(c *Config) { c.IdleTimeout = 10 * time.Millisecond })
	resp, err := c.Do(t.Context(), address, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	<-closed
}
