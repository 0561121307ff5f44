package server

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestRoutesOfThePlatform holds the list of what the platform itself answers on a
// function's port, to everybody: a new route has to be added to it, and to
// docs/security.md. None changes anything.
func TestRoutesOfThePlatform(t *testing.T) {
	f := startWith(t, Options{
		Function: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "function "+r.URL.Path) }), Models: &fakeModels{},
	})
	routes := slices.Sorted(maps.Keys(f.platform))
	if want := []string{"/_/cache", "/_/health", "/_/ready"}; !slices.Equal(routes, want) {
		t.Errorf("the platform answers at %q, want %q", routes, want)
	}
	for _, path := range routes {
		if resp, body := f.get(t, path); resp.StatusCode != 200 || strings.HasPrefix(body, "function") {
			t.Errorf("GET %s: %d %s", path, resp.StatusCode, body)
		}
		for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"} {
			resp, _ := rawRequest(t, f, method+" "+path+" HTTP/1.1\r\nHost: f\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
				t.Errorf("%s %s: %d, %v", method, path, resp.StatusCode, resp.Header)
			}
		}
	}
}

// TestOtherPathsAreTheFunctions sends what looks like a route of the platform and is
// none to the function, which sees it as it was sent.
func TestOtherPathsAreTheFunctions(t *testing.T) {
	f := startWith(t, Options{
		Function: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }), Models: &fakeModels{},
	})
	for _, target := range []string{
		"/_/health/", "//_/health", "/_//health", "/_/./health", "/x/../_/cache", "/_/cache/..", "/_/cache%2f", "/_%5Ccache", "/_/CACHE",
		"/_/cache%00", "/_/metrics", "/metrics", "/v2x", "/%2e%2e/v2/models/m", "/x/../v2/models/m", "//v2/models/m", "/V2/models/m",
	} {
		resp, _ := rawRequest(t, f, "GET "+target+" HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(body) != target {
			t.Errorf("%s: %d %q, %v", target, resp.StatusCode, body, err)
		}
	}
}

// TestHeadersThatAreTooMuch are refused, and the function does not see them.
func TestHeadersThatAreTooMuch(t *testing.T) {
	f := start(t, func(http.ResponseWriter, *http.Request) { t.Error("the function was asked") })
	for name, head := range map[string]struct {
		text   string
		status int
	}{
		"two lengths":         {"Content-Length: 1\r\nContent-Length: 2\r\n", 400},
		"length and chunks":   {"Content-Length: 1\r\nTransfer-Encoding: chunked, x\r\n", 501},
		"a header with space": {"X : y\r\n", 400},
	} {
		resp, _ := rawRequest(t, f, fmt.Sprintf("POST / HTTP/1.1\r\nHost: f\r\n%s\r\n", head.text))
		if resp.StatusCode != head.status {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, head.status)
		}
	}
}
