package attach

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
)

const inferBody = `{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}`

// proxyTo serves a proxy with the token "t".
func proxyTo(t *testing.T, socket string, wait time.Duration) (*function, string) {
	t.Helper()
	f := attachTo(t, socket, wait)
	p := NewProxy(f.Attachment, socket, func() string { return "t" })
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
		defer cancel()
		p.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		p.Close()
	})
	return f, srv.URL
}

func send(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

func TestProxyPassesOnWithTheFunctionsToken(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	_, url := proxyTo(t, s.Socket, time.Minute)
	resp, body := send(t, "POST", url+"/v2/models/digits/infer", inferBody, "Authorization", "Bearer stolen", "X-Call-Id", "id", "X-Faas-Gpu-Device", "gpu1")
	if resp.StatusCode != 200 || !strings.Contains(body, `"model_name":"digits"`) || resp.Header.Get(api.HeaderCache) != "swap" {
		t.Errorf("got %d, %v, %s", resp.StatusCode, resp.Header, body)
	}
	h := s.Headers()[0]
	if h.Get("Authorization") != "Bearer t" || h.Get("X-Call-Id") != "id" || h.Get("X-Faas-Gpu-Device") != "gpu1" || h.Get(api.HeaderDeadline) == "" {
		t.Errorf("the cache manager saw %v", h)
	}
	if resp, body := send(t, "POST", url+"/v2/models/digits/infer", `{"inputs":`); resp.StatusCode != 400 {
		t.Errorf("bad input: %d, %s", resp.StatusCode, body)
	}
}

// TestProxyControl lets a function have its models loaded and unloaded from outside
// only if it is deployed so, and only its own.
func TestProxyControl(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f, url := proxyTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	const route = "/v2/repository/models/"
	if resp, body := send(t, "POST", url+route+"digits/unload", ""); resp.StatusCode != 403 || !strings.Contains(body, "model_control=true") {
		t.Errorf("unless it was allowed: %d %s", resp.StatusCode, body)
	}
	f.Control = true
	// The fake has no such route: its 404 of an own model becomes "later".
	for path, want := range map[string]int{"digits/unload": 503, "digits/load": 503, "foreign/unload": 404, "digits/erase": 404} {
		if resp, body := send(t, "POST", url+route+path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", path, resp.StatusCode, want, body)
		}
	}
}

func TestProxyReachesOwnModelsOnly(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f, url := proxyTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	for path, want := range map[string]int{
		"/v2/models/digits/ready":                 200,
		"/v2/models/digits/versions/2/ready":      503, // its own, but the fake does not know the route
		"/v2/models/foreign/ready":                404,
		"/v2/models/digits/versions/7/ready":      404,
		"/v2/models/":                             404,
		"/v2/faas-gpu/status":                     404,
		"/v2/%66aas-gpu/status":                   404,
		"/v2/models/../faas-gpu/status":           400,
		"/v2/models/digits/%2e%2e/..":             400,
		"/v2/models/digits%2F..%2F..%2Ffaas-gpu":  400,
		"/v2/models/digits/../../faas-gpu/status": 400,
		"/v2/repository/models/foreign/unload":    403,
		"/v2/repository/models/digits/unload":     403,
		"/v2//faas-gpu/status":                    404,
		"/v2/health/../faas-gpu/status":           400,
		"/v2/models/digits%2Fready":               200, // it is sent as it was understood
		"/v2/models/digits/nonsense":              404,
		"/v2/models/digits/ready/":                404,
		"/v2/models/digits/versions/2/nonsense":   404,
		"/v2/repository/models/digits/erase":      404,
	} {
		resp, body := send(t, "GET", url+path, "")
		if resp.StatusCode != want || strings.Contains(body, "secret") {
			t.Errorf("%s is %d, want %d: %s", path, resp.StatusCode, want, body)
		}
		if want >= 400 && !strings.Contains(body, `"error"`) {
			t.Errorf("%s has the body %q", path, body)
		}
	}
}

// A client must not be able to make the function lose its models by asking for
// what is not there.
func TestUnknownRouteLosesNoModel(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f, url := proxyTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	before := s.Offers()
	for _, path := range []string{"/v2/models/digits/nonsense", "/v2/models/digits%2Fnonsense", "/v2/models/digits%2Fx/ready"} {
		if resp, body := send(t, "GET", url+path, ""); resp.StatusCode != 404 {
			t.Errorf("%s is %d: %s", path, resp.StatusCode, body)
		}
	}
	if f.state.Load() == nil || s.Offers() != before {
		t.Errorf("the models were offered %d times instead of %d", s.Offers(), before)
	}
}

// A handler in another process asks for its models at /v2.
func TestProxyTellsTheRequestThatItServes(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	p := NewProxy(f.Attachment, s.Socket, func() string { return "t" })
	defer p.Close()
	ask := func(outer *call.Call, header ...string) int {
		r := httptest.NewRequest("POST", "/v2/models/digits/infer", strings.NewReader(inferBody))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		c := call.New(r, nil, "")
		c.Outer = outer
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r.WithContext(call.With(r.Context(), c)))
		return w.Code
	}
	outer := &call.Call{ID: "id", Device: "gpu1", SLO: 80 * time.Millisecond, Traceparent: "00-1-2-01"}
	if ask(outer) != 200 || ask(outer, api.HeaderSLO, "5ms") != 200 || ask(nil) != 200 {
		t.Fatal("the model does not answer")
	}
	var got []string
	for _, h := range s.Headers() {
		got = append(got, h.Get(api.HeaderDeviceHint)+" "+h.Get(api.HeaderSLO)+" "+h.Get("Traceparent"))
	}
	if want := []string{"gpu1 80ms 00-1-2-01", "gpu1 5ms 00-1-2-01", "  "}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	told := http.Header{}
	outer.WriteHeaders(told)
	if told.Get(api.HeaderCache) != "swap" || told.Get(api.HeaderEngine) != "echo" || told.Get(api.HeaderTiming) != "queue;dur=0.000, swap;dur=4.000, compute;dur=2.000" {
		t.Errorf("the answer says %v", told)
	}
}

func TestProxyWaitsForARestart(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f, url := proxyTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	s.Kill()
	type result struct {
		status int
		body   string
	}
	results := make(chan result)
	for range 4 {
		go func() {
			resp, body := send(t, "POST", url+"/v2/models/digits/infer", inferBody)
			results <- result{resp.StatusCode, body}
		}()
	}
	f.awaitReady(t, "models cannot be used now")
	s.Restart(t, true)
	for range 4 {
		if r := <-results; r.status != 200 || !strings.Contains(r.body, `"data":[1,2]`) {
			t.Errorf("got %d, %s", r.status, r.body)
		}
	}
}

func TestProxyFailsCleanly(t *testing.T) {
	_, url := proxyTo(t, socket(t), 20*time.Millisecond)
	resp, body := send(t, "POST", url+"/v2/models/digits/infer", inferBody)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"error":"the models cannot be used now`) {
		t.Errorf("away: %d, %v, %s", resp.StatusCode, resp.Header, body)
	}

	s := fakecache.Start(t, socket(t))
	s.Hold(func() { s.Refuse["other"] = "it is a plan" })
	f, url := proxyTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "it is a plan")
	if resp, body := send(t, "POST", url+"/v2/models/other/infer", inferBody); resp.StatusCode != 500 || !strings.Contains(body, "it is a plan") {
		t.Errorf("refused: %d, %s", resp.StatusCode, body)
	}
	s.Forget()
	if resp, _ := send(t, "POST", url+"/v2/models/digits/infer", inferBody); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("forgotten: %d, %v", resp.StatusCode, resp.Header)
	}
	if resp, body := send(t, "POST", url+"/v2/models/digits/infer", inferBody); resp.StatusCode != 200 {
		t.Errorf("after that: %d, %s", resp.StatusCode, body)
	}
}

func TestProxyStreamsLargeBodies(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	_, url := proxyTo(t, s.Socket, time.Minute)
	const n = 602112
	header := `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3,224,224],"parameters":{"binary_data_size":602112}}],"parameters":{"binary_data_output":true}}`
	data := bytes.Repeat([]byte("0123456789abcdef"), n/16)
	resp, body := send(t, "POST", url+"/v2/models/digits/infer", header+string(data), "Inference-Header-Content-Length", strconv.Itoa(len(header)))
	if resp.StatusCode != 200 || !strings.HasSuffix(body, string(data)) {
		t.Errorf("got %d, %d bytes: %.200s", resp.StatusCode, len(body), body)
	}
}

func TestModelOf(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/models/a/infer": "a//true", "/v2/models/a/versions/2/infer": "a/2/true", "/v2/models/a": "a//true",
		"/v2/repository/models/a/load": "a//true", "/v2/models/": "//false", "/v2/repository/index": "//false", "/x": "//false",
	} {
		model, version, ok := modelOf(path)
		got := model + "/" + version + "/false"
		if ok {
			got = model + "/" + version + "/true"
		}
		if got != want {
			t.Errorf("%s is %s", path, got)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, p := range []string{"/v2", "/v2/models/digits/infer", "/v2/faas-gpu/status", "/v2/models/digits/../../faas-gpu", "/v2/health/live"} {
		f.Add(p)
	}
	a := &Attachment{paths: map[string]string{}}
	a.Models = &models.Folder{}
	a.offer.Models = []api.Offer{{Name: "digits", Version: "1"}}
	p := &Proxy{a: a}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/v2") {
			return // the server sends it elsewhere
		}
		// Whatever a mux makes of a path that passes, it is not a node route.
		if p.check(path) == nil && strings.HasPrefix(pathpkg.Clean(path), "/v2/faas-gpu") {
			t.Errorf("%q passes", path)
		}
	})
}

func TestTruncatedBodyHarmsNobodyElse(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	_, url := proxyTo(t, s.Socket, time.Minute)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"inputs\":")
	conn.Close()
	if resp, body := send(t, "POST", url+"/v2/models/digits/infer", inferBody); resp.StatusCode != 200 {
		t.Errorf("the next request got %d, %s", resp.StatusCode, body)
	}
}
