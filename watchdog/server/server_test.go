package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
	"github.com/prometheus/client_golang/prometheus"
)

func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }

func TestFunctionSeesTheRequestAsItCame(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method+" "+r.RequestURI) })
	for _, path := range []string{"/", "//a//b", "/a%2Fb?x=1;y", "/_/other", "/v2/models", "/a/../b"} {
		if _, body := f.get(t, path); body != "GET "+path {
			t.Errorf("%s came as %s", path, body)
		}
	}
}

func TestHeadersLinesAndMetrics(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Mine", "1")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "hello")
	}, "log_callid=true")
	resp, _ := f.get(t, "/path?q=1", "X-Call-Id", "the-id")
	if resp.StatusCode != 201 || resp.Header.Get("X-Mine") != "1" || resp.Header.Get("X-Call-Id") != "the-id" || resp.Header.Get("X-Duration-Seconds") == "" {
		t.Errorf("response is %d, %v", resp.StatusCode, resp.Header)
	}
	line := poll(t, func() (string, bool) {
		s := f.lines.String()
		return s, strings.Contains(s, "the-id")
	})
	if !strings.HasPrefix(line, "GET /path?q=1 - 201 Created - ContentLength: 5B (0.") || !strings.HasSuffix(line, "s) [the-id]") {
		t.Errorf("line is %q", line)
	}
	f.get(t, "/probe", "User-Agent", "kube-probe/faas-gpu")
	f.get(t, "/bad-id", "X-Call-Id", "a\tb")
	s := poll(t, func() (string, bool) {
		s := f.lines.String()
		return s, strings.Contains(s, `["a\tb"]`)
	})
	if strings.Contains(s, "/probe") {
		t.Errorf("a probe left a line: %q", s)
	}
	if got := metric(t, f.reg, "http_requests_total", "201", "get"); got != 3 {
		t.Errorf("http_requests_total is %v", got)
	}
	if got := metric(t, f.reg, "http_request_duration_seconds", "201", "get"); got != 3 {
		t.Errorf("http_request_duration_seconds has %v", got)
	}
}

// metric is the value of a counter, or the count of a histogram, with labels code
// and method.
func metric(t *testing.T, reg *prometheus.Registry, name, code, method string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && labels["code"] == code && labels["method"] == method {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func TestMetricsPage(t *testing.T) {
	f := start(t, hello)
	f.get(t, "/")
	page := serve(MetricsHandler(f.reg), "GET", "/metrics")
	for _, want := range []string{`http_requests_total{code="200",method="get"} 1`, "http_request_duration_seconds_bucket", "http_requests_in_flight 0", "faas_gpu_function_max_inflight 0"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if methodLabel("BREW") != "other" {
		t.Error("a client can make a label")
	}
}

func TestHealthAndReady(t *testing.T) {
	f := start(t, hello)
	for _, path := range []string{"/_/health", "/_/ready"} {
		if resp, body := f.get(t, path); resp.StatusCode != 200 || body != "OK" {
			t.Errorf("%s is %d, %q", path, resp.StatusCode, body)
		}
		resp, err := f.client.Post(f.url+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d", path, resp.StatusCode)
		}
	}
	if err := os.Remove(f.Config.LockFile()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/_/health", "/_/ready"} {
		if resp, body := f.get(t, path); resp.StatusCode != 503 || !strings.Contains(body, "lock file") {
			t.Errorf("%s without lock file is %d, %q", path, resp.StatusCode, body)
		}
	}
}

func TestSuppressedLock(t *testing.T) {
	f := start(t, hello, "suppress_lock=true")
	if _, err := os.Stat(f.Config.LockFile()); err == nil {
		t.Error("a lock file was written")
	}
}

func TestReadyAsksTheFunction(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, r.RequestURI)
	}, "ready_path=/up?x=1")
	if resp, body := f.get(t, "/_/ready"); resp.StatusCode != http.StatusTeapot || body != "/up?x=1" {
		t.Errorf("ready is %d, %q", resp.StatusCode, body)
	}
	if got := metric(t, f.reg, "http_requests_total", "418", "get"); got != 0 {
		t.Errorf("the probe counts as %v requests", got)
	}
	hangs := start(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "ready_path=/up", "exec_timeout=20ms")
	if resp, _ := hangs.get(t, "/_/ready"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("ready of a function that hangs is %d", resp.StatusCode)
	}
}

func TestNotReadyUntilListeningAndModels(t *testing.T) {
	m := &fakeModels{ready: errors.New("model digits: no")}
	listening := errors.New("does not listen yet")
	var mu sync.Mutex
	f := startWith(t, Options{Function: http.HandlerFunc(hello), Models: m, Listening: func() error {
		mu.Lock()
		defer mu.Unlock()
		return listening
	}})
	if resp, body := f.get(t, "/_/ready"); resp.StatusCode != 503 || !strings.Contains(body, "listen") {
		t.Errorf("ready is %d, %q", resp.StatusCode, body)
	}
	mu.Lock()
	listening = nil
	mu.Unlock()
	if resp, body := f.get(t, "/_/ready"); resp.StatusCode != 503 || !strings.Contains(body, "model digits") {
		t.Errorf("ready is %d, %q", resp.StatusCode, body)
	}
	m.set(nil)
	if resp, _ := f.get(t, "/_/ready"); resp.StatusCode != 200 {
		t.Errorf("ready is %d", resp.StatusCode)
	}
}

func TestModelRoutes(t *testing.T) {
	f := startWith(t, Options{Function: http.HandlerFunc(hello), Models: &fakeModels{}})
	for path, want := range map[string]string{
		"/v2": "protocol /v2", "/v2/models/digits/infer": "protocol /v2/models/digits/infer", "/v2x": "hello", "/": "hello",
	} {
		if _, body := f.get(t, path); body != want {
			t.Errorf("%s is %q", path, body)
		}
	}
	if resp, body := f.get(t, "/_/cache"); resp.StatusCode != 200 || !strings.Contains(body, `"node":"n1"`) {
		t.Errorf("cache is %d, %q", resp.StatusCode, body)
	}
	f.Models.(*fakeModels).set(errors.New("away"))
	if resp, body := f.get(t, "/_/cache"); resp.StatusCode != 503 || !strings.Contains(body, "away") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("cache is %d, %q", resp.StatusCode, body)
	}
	without := start(t, hello)
	if resp, body := without.get(t, "/_/cache"); resp.StatusCode != 404 || !strings.Contains(body, "no models") {
		t.Errorf("cache without models is %d, %q", resp.StatusCode, body)
	}
}

func TestOutcomeOfTheModelsIsInTheResponse(t *testing.T) {
	infer := func(r *http.Request) {
		c := call.From(r.Context())
		_, info, _ := c.Models.Infer(r.Context(), api.Call{}, nil)
		c.Record(info)
	}
	f := startWith(t, Options{Models: &fakeModels{}, Function: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.WriteString(w, "head is out")
			infer(r)
			return
		}
		infer(r)
	})})
	if resp, _ := f.get(t, "/"); resp.Header.Get(api.HeaderCache) != "swap" || resp.Header.Get(api.HeaderDevice) != "cpu" || resp.Header.Get(api.HeaderTiming) == "" {
		t.Errorf("headers are %v", resp.Header)
	}
	if resp, body := f.get(t, "/late"); resp.Header.Get(api.HeaderCache) != "" || body != "head is out" {
		t.Errorf("late: %v, %q", resp.Header, body)
	}
}

func TestMaxInflight(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{})
	f := startWith(t, Options{Models: &fakeModels{}, Function: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-release
		}
	})}, "max_inflight=1")
	slow := make(chan int)
	go func() {
		resp, err := http.Get(f.url + "/slow")
		if err != nil {
			t.Error(err)
			slow <- 0
			return
		}
		resp.Body.Close()
		slow <- resp.StatusCode
	}()
	<-entered
	resp, body := f.get(t, "/")
	if resp.StatusCode != 429 || resp.Header.Get("X-OpenFaaS-Internal") != "faas-middleware" || !strings.Contains(body, "Concurrent request limit exceeded") {
		t.Errorf("beyond the limit: %d, %v, %q", resp.StatusCode, resp.Header, body)
	}
	if resp, _ := f.get(t, "/_/ready"); resp.StatusCode != 429 {
		t.Errorf("ready at the limit is %d", resp.StatusCode)
	}
	if resp, _ := f.get(t, "/_/health"); resp.StatusCode != 200 {
		t.Errorf("health at the limit is %d", resp.StatusCode)
	}
	if _, body := f.get(t, "/v2/models/m"); !strings.HasPrefix(body, "protocol") {
		t.Errorf("/v2 at the limit is %q", body)
	}
	close(release)
	if code := <-slow; code != 200 {
		t.Errorf("the request at the limit got %d", code)
	}
	f.await(t, "/", 200)
	http.DefaultClient.CloseIdleConnections()
}
