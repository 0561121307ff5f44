package provider

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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

func TestInvokeAddsWhatTheFunctionSays(t *testing.T) {
	var got http.Header
	b := start(t, newFakeRuntime(replica(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })))
	b.deployed(t, func(d *types.FunctionDeployment) {
		d.Annotations = &map[string]string{"com.openfaas.gpu.slo": "80ms", "com.openfaas.gpu.fallback": "wait"}
	}, 1)
	r := b.request(t, "GET", "/function/digits", nil)
	left := func() time.Duration {
		d, err := time.ParseDuration(got.Get("X-Faas-Gpu-Slo"))
		if err != nil || d <= 0 {
			t.Errorf("what is left of the SLO is %q", got.Get("X-Faas-Gpu-Slo"))
		}
		return d
	}
	if b.ask(t, r); left() >= 80*time.Millisecond || left() < 5*time.Millisecond || got.Get("X-Faas-Gpu-Fallback") != "wait" {
		t.Errorf("got %v of the annotations", got)
	}
	r.Header.Set("X-Faas-Gpu-Slo", "5ms")
	r.Header.Set("X-Faas-Gpu-Fallback", "refuse")
	if b.ask(t, r); left() >= 5*time.Millisecond || got.Get("X-Faas-Gpu-Fallback") != "refuse" {
		t.Errorf("got %v of the request", got)
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

	late := b.counts.of(id) // of an invocation that outlives the function
	remove := strings.NewReader(`{"functionName":"digits"}`)
	if resp, body := b.ask(t, b.request(t, "DELETE", "/system/functions", remove)); resp.StatusCode != 202 {
		t.Fatalf("got %d %q", resp.StatusCode, body)
	}
	late.add(200)
	if n := b.counts.total(id); n != 0 {
		t.Errorf("a new function of the name would begin with %v invocations", n)
	}
}
