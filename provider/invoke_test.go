package provider

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// replica serves h and returns its URL.
func replica(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// digits starts a provider with the function digits on one replica.
func digits(t testing.TB, h http.HandlerFunc, options ...option) *bench {
	t.Helper()
	b := start(t, newFakeRuntime(replica(t, h)), options...)
	b.deployed(t, nil, 1)
	return b
}

// ask sends a request and returns the answer with its whole body.
func (b *bench) ask(t testing.TB, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := b.client.Do(r)
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

func (b *bench) request(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInvokePassesRequestsOnUnchanged(t *testing.T) {
	var got *http.Request
	var gotBody string
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, gotBody = r.Clone(context.Background()), string(body)
		w.Header().Add("X-Answer", "1")
		w.Header().Add("X-Answer", "2")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout")
	})
	paths := map[string]string{
		"/function/digits":                         "/",
		"/function/digits/":                        "/",
		"/function/digits?a=b%20c&a=d":             "/?a=b%20c&a=d",
		"/function/digits?":                        "/?",
		"/function/digits.openfaas-fn/x":           "/x",
		"/function/digits/a%2Fb//c/../d%20e?q=%2F": "/a%2Fb//c/../d%20e?q=%2F",
		"/function/digits/v2/models/m/infer":       "/v2/models/m/infer",
	}
	for path, want := range paths {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			sent := "body of " + method
			if method == "GET" {
				sent = ""
			}
			resp, answer := b.ask(t, b.request(t, method, path, strings.NewReader(sent)))
			if got.RequestURI != want || got.Method != method || gotBody != sent || got.ContentLength != int64(len(sent)) {
				t.Errorf("%s %s: the function got %s %s with %q of %d bytes", method, path, got.Method, got.RequestURI, gotBody, got.ContentLength)
			}
			if resp.StatusCode != http.StatusTeapot || answer != "short and stout" || len(resp.Header["X-Answer"]) != 2 ||
				resp.ContentLength != int64(len(answer)) || resp.Header.Get("Keep-Alive") != "" {
				t.Errorf("%s %s: got %d %q %v", method, path, resp.StatusCode, answer, resp.Header)
			}
		}
	}
}

func TestInvokeHeaders(t *testing.T) {
	var got http.Header
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>")
	})
	r := b.request(t, "POST", "/function/digits", strings.NewReader("x"))
	for name, value := range map[string]string{
		"X-Call-Id": "abc", "Traceparent": "00-1-2-01", "X-Forwarded-For": "10.0.0.1", "X-Faas-Gpu-Device": "GPU-1",
		"X-Faas-Gpu-Deadline": "1s", "Connection": "X-Private, close", "X-Private": "1", "Te": "trailers", "Upgrade": "websocket",
		"Authorization": "Bearer mine", "User-Agent": "test",
	} {
		r.Header.Set(name, value)
	}
	resp, _ := b.ask(t, r)
	want := map[string]string{
		"X-Call-Id": "abc", "Traceparent": "00-1-2-01", "X-Forwarded-For": "10.0.0.1, 127.0.0.1", "X-Faas-Gpu-Device": "",
		"X-Faas-Gpu-Deadline": "", "Connection": "", "X-Private": "", "Te": "", "Upgrade": "", "Authorization": "Bearer mine",
		"X-Forwarded-Host": strings.TrimPrefix(b.url, "http://"), "User-Agent": "test",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
	if len(got.Get("X-Start-Time")) < 19 {
		t.Errorf("X-Start-Time is %q", got.Get("X-Start-Time"))
	}
	if resp.Header.Get("X-Call-Id") != "abc" || len(resp.Header["Content-Type"]) != 0 {
		t.Errorf("answered with %v", resp.Header)
	}

	resp, _ = b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if id := resp.Header.Get("X-Call-Id"); len(id) != 36 || got.Get("X-Call-Id") != id {
		t.Errorf("made the call id %q, the function got %q", id, got.Get("X-Call-Id"))
	}
}

func TestInvokeAddsTheFunctionsSLO(t *testing.T) {
	var got string
	b := start(t, newFakeRuntime(replica(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("X-Faas-Gpu-Slo") })))
	b.deployed(t, func(d *types.FunctionDeployment) {
		d.Annotations = &map[string]string{"com.openfaas.gpu.slo": "80ms"}
	}, 1)
	r := b.request(t, "GET", "/function/digits", nil)
	if b.ask(t, r); got != "80ms" {
		t.Errorf("got %q of the annotation", got)
	}
	r.Header.Set("X-Faas-Gpu-Slo", "5ms")
	if b.ask(t, r); got != "5ms" {
		t.Errorf("got %q of the request", got)
	}
}

func TestInvokeHead(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	})
	for range 2 { // the connection is good for another one
		resp, body := b.ask(t, b.request(t, "HEAD", "/function/digits", nil))
		if resp.StatusCode != 200 || resp.ContentLength != 5 || body != "" {
			t.Errorf("got %d, %d bytes, %q", resp.StatusCode, resp.ContentLength, body)
		}
	}
}

func TestInvokeTrailersAndNoContent(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/empty" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "data")
		w.Header().Set("X-Sum", "42")
	})
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if body != "data" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("got %q, trailer %v", body, resp.Trailer)
	}
	if resp, _ := b.ask(t, b.request(t, "GET", "/function/digits/empty", nil)); resp.StatusCode != http.StatusNoContent {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestInvokeUnknown(t *testing.T) {
	b := digits(t, func(http.ResponseWriter, *http.Request) {})
	for _, path := range []string{
		"/function/", "/function/other", "/function/.openfaas-fn", "/function/digits.lab", "/function/digits.", "/function/%64igits%2F..",
	} {
		resp, body := b.ask(t, b.request(t, "POST", path, nil))
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("X-OpenFaaS-Internal") != "proxy" || !strings.Contains(body, "no such function") {
			t.Errorf("%s: got %d %v %q", path, resp.StatusCode, resp.Header, body)
		}
	}
}

func TestInvokeEventsArriveOneByOne(t *testing.T) {
	next := make(chan string)
	b := digits(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		for event := range next {
			io.WriteString(w, event)
			http.NewResponseController(w).Flush()
		}
	})
	resp, err := b.client.Do(b.request(t, "GET", "/function/digits", nil)) // returns with the head alone
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buffer := make([]byte, 100)
	for i := range 5 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		if n, err := io.ReadFull(resp.Body, buffer[:len(event)]); err != nil || string(buffer[:n]) != event {
			t.Fatalf("got %q, %v", buffer[:n], err)
		}
	}
	close(next)
	if n, err := resp.Body.Read(buffer); n != 0 || err != io.EOF {
		t.Errorf("got %q, %v at the end", buffer[:n], err)
	}
}

func TestInvokeStreamsBothWays(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			rc.Flush()
		}
	})
	pr, pw := io.Pipe()
	resp, err := b.client.Do(b.request(t, "POST", "/function/digits", pr))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	for i := range 5 {
		fmt.Fprintf(pw, "line %d\n", i)
		if !answers.Scan() || answers.Text() != fmt.Sprintf("echo line %d", i) {
			t.Fatalf("got %q, %v", answers.Text(), answers.Err())
		}
	}
	pw.Close()
	if answers.Scan() {
		t.Errorf("got %q at the end", answers.Text())
	}
}

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

func TestInvokeClientLeaves(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	for _, length := range []int64{3, -1} {
		ctx, leave := context.WithCancel(t.Context())
		r := b.request(t, "POST", "/function/digits", strings.NewReader("abc")).WithContext(ctx)
		r.ContentLength = length
		done := make(chan error, 1)
		go func() { _, err := b.client.Do(r); done <- err }()
		<-arrived
		leave()
		<-gone // the function is told
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestInvokeReplicaDiesInItsAnswer(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, path := range []string{"/function/digits", "/function/digits/length"} {
		resp, err := b.client.Do(b.request(t, "GET", path, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "half" || err == nil {
			t.Errorf("%s: got %q, %v: half an answer looks like a whole one", path, body, err)
		}
	}
}

func TestInvokeReplicaDiesBeforeItsAnswer(t *testing.T) {
	var calls atomic.Int64
	dies := func(_ http.ResponseWriter, r *http.Request) { calls.Add(1); panic(http.ErrAbortHandler) }
	b := start(t, newFakeRuntime(replica(t, dies), replica(t, dies)))
	b.deployed(t, nil, 2)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "replica failed") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if calls.Load() != 1 {
		t.Errorf("a request that a handler had seen was sent %d times", calls.Load())
	}
}

// closedPort is an address that refuses connections.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestInvokeTriesAnotherReplica(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("abc"), io.LimitReader(zeros{}, 2<<20)} {
		b := start(t, newFakeRuntime(closedPort(t), replica(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		})))
		b.deployed(t, nil, 2)
		if resp, got := b.ask(t, b.request(t, "POST", "/function/digits", body)); resp.StatusCode != 200 || got == "0" {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
		if n := b.cfg.Dispatcher.Stats().Retries; n != 1 {
			t.Errorf("%d retries", n)
		}
	}
}

func TestInvokeNoReplicaReached(t *testing.T) {
	b := start(t, newFakeRuntime(closedPort(t), closedPort(t)))
	b.deployed(t, nil, 2)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "no replica could be reached") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestInvokeTimeout(t *testing.T) {
	brief := func(_ *Config, b *benchConfig) { b.upstream.Timeout = 20 * time.Millisecond }
	b := digits(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, brief)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("X-Duration-Seconds") == "" {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
}

func TestInvokeQueueIsFull(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	one := func(_ *Config, b *benchConfig) { b.queue = 1 }
	b := start(t, newFakeRuntime(replica(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })), one)
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"max_inflight": "1"} }, 1)
	statuses := make(chan int, 2)
	for range 2 {
		go func() {
			resp, err := b.client.Get(b.url + "/function/digits")
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	<-arrived
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 1 })
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "queue is full") {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	close(release)
	if a, b := <-statuses, <-statuses; a != 200 || b != 200 {
		t.Errorf("the others got %d and %d", a, b)
	}
}

// until polls for something that other goroutines bring about.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 5s")
		}
	}
}

func TestInvokeWaitingClientWithUnreadBodyLeaves(t *testing.T) {
	b := start(t, newFakeRuntime())
	b.deployed(t, nil, 1) // no replica comes
	ctx, leave := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.client.Do(b.request(t, "POST", "/function/digits", pr).WithContext(ctx))
		done <- err
	}()
	pw.Write(make([]byte, 10<<10))
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 1 })
	leave()
	pw.CloseWithError(context.Canceled)
	<-done
	until(t, func() bool { return b.cfg.Dispatcher.Stats().Waiting == 0 })
}

func TestInvokeWakesFromZero(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "awake") })
	id := runtime.ID{Namespace: "openfaas-fn", Name: "digits"}
	b.rt.Scale(t.Context(), id, 0)
	if resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil)); resp.StatusCode != 200 || body != "awake" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestInvokeNotReadyInTime(t *testing.T) {
	brief := func(_ *Config, b *benchConfig) { b.wait = 20 * time.Millisecond }
	b := start(t, newFakeRuntime(), brief)
	b.deployed(t, nil, 1)
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "20ms") {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
}

func TestInvokeCounts(t *testing.T) {
	b := digits(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(500)
		}
	})
	for _, path := range []string{"", "", "/bad"} {
		b.ask(t, b.request(t, "GET", "/function/digits"+path, nil))
	}
	id := runtime.ID{Namespace: "openfaas-fn", Name: "digits"}
	until(t, func() bool { return b.counts.total(id) == 3 })
	_, body := b.ask(t, b.request(t, "GET", "/metrics", nil))
	for _, line := range []string{
		`faas_gpu_function_invocations_total{code="200",function_name="digits.openfaas-fn"} 2`,
		`faas_gpu_function_invocations_total{code="500",function_name="digits.openfaas-fn"} 1`,
		"faas_gpu_queue_requests 0",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("%q is missing in\n%s", line, body)
		}
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
