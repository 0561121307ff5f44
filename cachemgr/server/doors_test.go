package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// TestOpenRoutes holds the list of what everybody may ask: a new route that is open
// has to be added to it, and to docs/security.md.
func TestOpenRoutes(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	var open []string
	for _, rt := range i.table() {
		if rt.access != byFunction && rt.access != byProvider {
			open = append(open, rt.path)
		}
	}
	if want := []string{"/v2", "/v2/health/live", "/v2/health/ready"}; !slices.Equal(open, want) {
		t.Errorf("%q need no token, want %q only", open, want)
	}
}

// rawRequest sends a request line as it is, which no client would. Redirects are
// answers like others.
func rawRequest(t *testing.T, url, method, target string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %q: %v", method, target, err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, string(readAll(t, resp.Body))
}

// detours are other ways to write a path.
func detours(path string) []string {
	rest := strings.TrimPrefix(path, "/")
	first, last, _ := strings.Cut(rest, "/")
	return []string{
		path + "/", "/" + path, "/" + first + "//" + last, "/./" + rest, "/" + first + "/./" + last, "/x/.." + path,
		"/v2/health/../.." + path, "/v2/health/live/../../.." + path, "/v2/health/%2e%2e/%2e%2e" + path, "/v2/health/live%2f..%2f..%2f.." + path,
		"/%76" + path[2:], strings.ToUpper(path), "/" + first + "%2f" + last, "/" + first + "\\" + last, path + "%00", path + ";x=y", path + "%20",
		"http://node" + path, "http://elsewhere/v2/.." + path,
	}
}

// TestNoDetour asks for every route in ways that a router might understand otherwise
// than the check behind it, on both listeners: without a token none answers.
func TestNoDetour(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	addModel(t, i.Server, bob, "m", "1")
	metrics := httptest.NewServer(i.Metrics())
	defer metrics.Close()
	for _, rt := range i.table() {
		if rt.access == open {
			continue
		}
		path := fill.Replace(rt.path)
		for _, target := range append(detours(path), path) {
			for _, url := range []string{i.url, metrics.URL} {
				status, body := rawRequest(t, url, rt.method, target)
				switch status {
				case http.StatusUnauthorized, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed,
					http.StatusMovedPermanently, http.StatusTemporaryRedirect:
				default:
					t.Errorf("%s %s: %d %.100s", rt.method, target, status, body)
				}
			}
		}
	}
}

// TestMethods sends every route all methods that it does not take, with the right to
// all it has.
func TestMethods(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	for _, rt := range s.table() {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"} {
			if method == rt.method || method == "HEAD" && rt.method == "GET" {
				continue
			}
			if status, _ := rawRequest(t, h.URL, method, fill.Replace(rt.path)); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want 405", method, rt.path, status)
			}
		}
	}
}

// TestMetricsListener offers metrics, health and the node's routes, and no models.
func TestMetricsListener(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	metrics := httptest.NewServer(i.Metrics())
	defer metrics.Close()
	function, provider := i.function(t, alice, time.Hour), i.provider(t)
	for _, rt := range i.table() {
		path := fill.Replace(rt.path)
		who, want := function, http.StatusNotFound
		switch {
		case strings.HasPrefix(rt.path, "/v2/health/"):
			want = http.StatusOK
		case rt.access == byProvider:
			want = http.StatusForbidden
		}
		resp, body := send(t, rt.method, metrics.URL+path, "", "Authorization", who)
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d %.100s, want %d", rt.method, rt.path, resp.StatusCode, body, want)
		}
	}
	if resp, body := send(t, "PUT", metrics.URL+api.RouteReferences, `{}`, "Authorization", provider); resp.StatusCode == 401 || resp.StatusCode == 403 {
		t.Errorf("the provider: %d %s", resp.StatusCode, body)
	}
	if resp, _ := send(t, "GET", metrics.URL+"/metrics", ""); resp.StatusCode != 200 {
		t.Errorf("metrics: %d", resp.StatusCode)
	}
}
