package forward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair starts a server and a forwarder in front of it, whose URL it returns.
func pair(t testing.TB, behind http.HandlerFunc, edit func(*Options)) string {
	t.Helper()
	back := httptest.NewServer(behind)
	target, _ := url.Parse(back.URL)
	transport := &http.Transport{DisableCompression: true, DialContext: BulkDial((&net.Dialer{}).DialContext)}
	o := Options{Target: target, Transport: transport, Fail: func(w http.ResponseWriter, r *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}}
	if edit != nil {
		edit(&o)
	}
	front := httptest.NewServer(New(o))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		transport.CloseIdleConnections()
		back.CloseClientConnections()
		back.Close()
	})
	return front.URL
}

func do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestRequestsArriveAsTheyCame(t *testing.T) {
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q", r.Method, r.RequestURI, r.Host, body)
	}, nil)
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/", ""}, {"POST", "/a%2Fb/c", "data"}, {"PUT", "//x//y", "1"}, {"DELETE", "/?a=1;b=%zz&c", ""}, {"PATCH", "/%C3%A9?q=a%20b", "x"},
	} {
		req := request(t, tc.method, front, strings.NewReader(tc.body))
		path, query, _ := strings.Cut(tc.path, "?")
		req.URL.RawQuery, req.URL.RawPath = query, path
		req.URL.Path, _ = url.PathUnescape(path)
		req.Host = "function.example"
		if _, got := do(t, req); got != fmt.Sprintf("%s %s function.example %q", tc.method, tc.path, tc.body) {
			t.Errorf("%s %s came as %s", tc.method, tc.path, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("Connection", "X-Internal")
		w.Header().Set("X-Internal", "1")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	}, func(o *Options) {
		o.Edit = func(r *http.Request) { r.Header.Set("X-Edited", "1") }
		o.Inspect = func(r *http.Response) error { r.Header.Set("X-Inspected", "1"); return nil }
	})
	req := request(t, "GET", front, nil)
	for name, value := range map[string]string{
		"X-Forwarded-For": "10.0.0.1:123", "X-Forwarded-Host": "gw", "Connection": "X-Hop", "X-Hop": "1",
		"Keep-Alive": "1", "Proxy-Authorization": "x", "Te": "gzip", "X-Call-Id": "id",
	} {
		req.Header.Set(name, value)
	}
	resp, _ := do(t, req)
	h := <-seen
	for _, gone := range []string{"X-Hop", "Keep-Alive", "Proxy-Authorization", "Te", "Connection"} {
		if h.Get(gone) != "" {
			t.Errorf("%s went through", gone)
		}
	}
	if h.Get("X-Forwarded-For") != "10.0.0.1:123" || h.Get("X-Forwarded-Host") != "gw" || h.Get("X-Call-Id") != "id" || h.Get("X-Edited") != "1" {
		t.Errorf("request headers are %v", h)
	}
	if resp.StatusCode != 302 || resp.Header.Get("Location") != "/elsewhere" || len(resp.Header["Set-Cookie"]) != 2 || resp.Header.Get("X-Internal") != "" || resp.Header.Get("X-Inspected") != "1" {
		t.Errorf("response is %d, %v", resp.StatusCode, resp.Header)
	}
}

// Each side sends one byte and waits for the other's answer: it ends only if
// nothing is held back anywhere.
func TestStreamsBothWays(t *testing.T) {
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		b := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			w.Write(b)
			rc.Flush()
		}
	}, nil)
	pr, pw := io.Pipe()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(request(t, "POST", front, pr))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 1)
	for i := range byte(5) {
		pw.Write([]byte{i})
		if _, err := io.ReadFull(resp.Body, b); err != nil || b[0] != i {
			t.Fatalf("byte %d came back as %d, %v", i, b[0], err)
		}
	}
	pw.Close()
	if _, err := resp.Body.Read(b); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}

// The next piece is written only when the one before has arrived.
func TestEveryPieceIsFlushed(t *testing.T) {
	next := make(chan struct{})
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/known":
			w.Header().Set("Content-Length", "15")
		}
		for i := range 5 {
			fmt.Fprintf(w, "%d..", i)
			http.NewResponseController(w).Flush()
			<-next
		}
	}, nil)
	for _, path := range []string{"/events", "/known", "/chunked"} {
		transport := &http.Transport{}
		resp, err := transport.RoundTrip(request(t, "GET", front+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(resp.Body)
		for i := range 5 {
			b := make([]byte, 3)
			if _, err := io.ReadFull(in, b); err != nil || string(b) != fmt.Sprintf("%d..", i) {
				t.Errorf("%s: piece %d is %q, %v", path, i, b, err)
			}
			next <- struct{}{}
		}
		resp.Body.Close()
		transport.CloseIdleConnections()
	}
}

func TestDeathInTheMiddleIsSeen(t *testing.T) {
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, "part")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	for _, path := range []string{"/known", "/chunked"} {
		transport := &http.Transport{}
		resp, err := transport.RoundTrip(request(t, "GET", front+path, nil))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a part was taken for the whole", path)
		}
		transport.CloseIdleConnections()
	}
}

func TestFailures(t *testing.T) {
	front := pair(t, nil, func(o *Options) {
		o.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no server") })
	})
	if resp, body := do(t, request(t, "GET", front, nil)); resp.StatusCode != 502 || !strings.Contains(body, "no server") {
		t.Errorf("got %d, %q", resp.StatusCode, body)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientThatLeavesCancels(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		if resp, err := transport.RoundTrip(request(t, "GET", front, nil).WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	cancel()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the server behind was not told")
	}
}

func TestBodiesOfManySizes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	front := pair(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Write(body)
	}, nil)
	for _, size := range []int{0, 1, 4095, 4096, copySize - 1, copySize, copySize + 1, 602112, rng.IntN(3 << 20)} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		for _, known := range []bool{true, false} {
			var r io.Reader = bytes.NewReader(body)
			if !known {
				r = struct{ io.Reader }{r}
			}
			if resp, got := do(t, request(t, "POST", front, r)); got != string(body) || resp.Close {
				t.Errorf("%d bytes, known %v: same %v, connection closed %v", size, known, got == string(body), resp.Close)
			}
		}
	}
}

func TestContentLength(t *testing.T) {
	for v, want := range map[string]int64{"": 0, "0": 0, "12": 12, "-1": 0, "1x": 0, "99999999999999999999999": 0} {
		if got := contentLength(http.Header{"Content-Length": {v}}); got != want {
			t.Errorf("%q is %d", v, got)
		}
	}
}

// What comes after an early answer is still the body, however slowly it comes.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.WriteString(w, r.URL.Path)
		http.NewResponseController(w).Flush() // so that the client sees the end
	}))
	defer back.Close()
	defer back.CloseClientConnections()
	target, _ := url.Parse(back.URL)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	front := httptest.NewUnstartedServer(New(Options{Target: target, Transport: transport, Fail: func(http.ResponseWriter, *http.Request, error) {}}))
	front.Config.ReadTimeout, front.Config.IdleTimeout = 50*time.Millisecond, time.Minute // as the watchdog has
	front.Start()
	defer front.Close()
	defer front.CloseClientConnections()
	c, err := net.Dial("tcp", strings.TrimPrefix(front.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "/early" || err != nil || !resp.Close {
		t.Errorf("got %q, %v, closed: %v", body, err, resp.Close)
	}
	time.Sleep(100 * time.Millisecond) // until the server has given up on the body
	io.WriteString(c, "GET /inside HTTP/1.1\r\nHost: x\r\n\r\n")
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("a body was answered as a request: %q", rest)
	}
}
