package provider

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// public are the routes that need no credentials: health, and names and counts.
var public = []string{"/healthz", "/metrics", "/api/v1/query"}

// raw sends a request line as it is, which no client would, and returns the status
// and the body. Redirects are answers like others.
func raw(t *testing.T, b *bench, method, target, header string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { // an answer may come before all is sent
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: provider\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, header)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %.100q: %v", method, target, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // the connection may be reset by then
	return resp.StatusCode, string(body)
}

// TestOpenRoutes holds the list of what everybody may ask: a new route that is open
// has to be added to it, and to docs/security.md.
func TestOpenRoutes(t *testing.T) {
	b := start(t, newFakeRuntime(), withCredentials)
	var open []string
	for _, r := range b.table() {
		if r.open {
			open = append(open, r.path)
		}
	}
	if !slices.Equal(open, public) {
		t.Errorf("%q need no credentials, want %q only", open, public)
	}
}

// detours are other ways to write a path.
func detours(path string) []string {
	rest := strings.TrimPrefix(path, "/")
	first, last, _ := strings.Cut(rest, "/")
	return []string{
		path + "/", "/" + path, "/" + first + "//" + last, "/./" + rest, "/" + first + "/./" + last,
		"/x/.." + path, "/function/.." + path, "/function/digits/../.." + path, "/function/digits.openfaas-fn/../.." + path,
		"/function/%2e%2e" + path, "/function/digits%2f..%2f.." + path, "/healthz/.." + path, "/metrics/%2e%2e" + path,
		"/%73" + path[2:], strings.ToUpper(path), "/" + first + "%2f" + last, "/" + first + "\\" + last, path + "%00", path + ";x=y", path + "%20",
		"http://provider" + path, "http://admin@provider" + path, "http://elsewhere/function/.." + path,
	}
}

// TestNoDetour asks for every route in ways that a router might understand otherwise
// than the check before it: without credentials none of them answers, and none
// changes anything. What belongs to a function goes there, whatever its path.
func TestNoDetour(t *testing.T) {
	const theFunction = "the function"
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, theFunction) }))
	defer replica.Close()
	b := start(t, newFakeRuntime(replica.URL), withCredentials)
	b.deployed(t, nil, 1)
	before := b.rt.Snapshot()
	for _, r := range b.table() {
		if r.open {
			continue
		}
		path := strings.NewReplacer(namePattern, "digits").Replace(r.path)
		for _, target := range detours(path) {
			for _, method := range r.methods {
				status, body := raw(t, b, method, target, "")
				switch status {
				case http.StatusUnauthorized, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed,
					http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
				default:
					if body == theFunction && strings.Contains(target, "/function/digits") {
						continue
					}
					t.Errorf("%s %s: %d %.100s", method, target, status, body)
				}
			}
		}
	}
	if b.rt.Snapshot() != before {
		t.Error("something was changed")
	}
}

// TestMethods sends every route all methods that it does not take.
func TestMethods(t *testing.T) {
	b := start(t, newFakeRuntime(), withCredentials)
	takes := map[string][]string{}
	for _, r := range b.table() {
		takes[r.path] = append(takes[r.path], r.methods...)
	}
	for path, methods := range takes {
		target := strings.NewReplacer(namePattern, "digits").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X"} {
			if slices.Contains(methods, method) {
				continue
			}
			if status, _ := raw(t, b, method, target, ""); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want 405", method, target, status)
			}
		}
	}
}

// TestHeadersThatAreTooMuch are refused before anything is asked of them.
func TestHeadersThatAreTooMuch(t *testing.T) {
	b := start(t, newFakeRuntime(), withCredentials)
	for name, c := range map[string]struct {
		target, header string
		status         int
	}{
		"large header":        {"/system/functions", "X: " + strings.Repeat("x", 2<<20) + "\r\n", 431},
		"many headers":        {"/system/functions", strings.Repeat("X: x\r\n", 400000), 431},
		"large path":          {"/system/function/" + strings.Repeat("x", 2<<20), "", 431},
		"large credentials":   {"/system/functions", "Authorization: Basic " + strings.Repeat("x", 500<<10) + "\r\n", 401},
		"another scheme":      {"/system/functions", "Authorization: Bearer x\r\n", 401},
		"two lengths":         {"/system/functions", "Content-Length: 5\r\n", 400},
		"length and chunks":   {"/function/digits", "Transfer-Encoding: chunked, x\r\n", 501},
		"a header with space": {"/system/functions", "Authorization : Basic x\r\n", 400},
	} {
		if status, body := raw(t, b, "POST", c.target, c.header); status != c.status {
			t.Errorf("%s: %d %.100s, want %d", name, status, body, c.status)
		}
	}
}
