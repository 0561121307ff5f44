package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// echo answers with the body it was sent.
func echo(w http.ResponseWriter, r *http.Request) {
	b := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Write(b)
}

// BenchmarkInvoke compares an invocation with the same request to the replica
// itself, and through net/http's proxy.
func BenchmarkInvoke(b *testing.B) {
	replica := httptest.NewServer(http.HandlerFunc(echo))
	defer replica.Close()
	to, _ := url.Parse(replica.URL)
	std := httputil.NewSingleHostReverseProxy(to)
	reverse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without this, large bodies sometimes break off: the server takes the
		// body away when the response begins.
		http.NewResponseController(w).EnableFullDuplex()
		std.ServeHTTP(w, r)
	}))
	defer reverse.Close()
	p := start(b, newFakeRuntime(replica.URL))
	p.deployed(b, nil, 1)

	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KiB", 1 << 10}, {"600KB", 602_112}} {
		body := bytes.Repeat([]byte("x"), size.bytes)
		for _, path := range []struct{ name, url string }{
			{"direct", replica.URL}, {"provider", p.url + "/function/digits"}, {"reverseproxy", reverse.URL},
		} {
			b.Run(size.name+"/"+path.name, func(b *testing.B) {
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					resp, err := p.client.Post(path.url, "application/octet-stream", bytes.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || n != int64(size.bytes) || resp.StatusCode != http.StatusOK {
						b.Fatalf("got %d, %d bytes, %v", resp.StatusCode, n, err)
					}
				}
			})
		}
	}
}
