package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"
)

// BenchmarkHop is what a hop over a Unix socket adds for 1 KiB and for 602,112
// bytes in and out: a plain reverse proxy, and this one.
func BenchmarkHop(b *testing.B) {
	socket := filepath.Join(b.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	echo := make([]byte, 1<<20)
	back := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.ReadFull(r.Body, echo[:r.ContentLength])
		w.Header().Set("Content-Length", fmt.Sprint(n))
		w.Write(echo[:n])
	})}
	go back.Serve(ln)
	defer back.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	target := &url.URL{Scheme: "http", Host: "s"}
	ours := &http.Transport{DialContext: BulkDial(dial), DisableCompression: true}
	plain := &http.Transport{DialContext: dial, DisableCompression: true}
	defer ours.CloseIdleConnections()
	defer plain.CloseIdleConnections()
	fail := func(w http.ResponseWriter, r *http.Request, err error) { w.WriteHeader(502) }
	for _, tc := range []struct {
		name    string
		handler http.Handler
	}{
		{"httputil", newPlain(target, plain)},
		{"forward", New(Options{Target: target, Transport: ours, Fail: fail})},
	} {
		front := httptest.NewServer(tc.handler)
		for _, size := range []int{1 << 10, 602112} {
			b.Run(fmt.Sprintf("%s/%d", tc.name, size), func(b *testing.B) {
				body := make([]byte, size)
				b.SetBytes(int64(2 * size))
				b.ReportAllocs()
				for b.Loop() {
					resp, err := http.Post(front.URL, "application/octet-stream", bytes.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.ReadFull(resp.Body, body); err != nil {
						b.Fatal(n, err)
					}
					resp.Body.Close()
				}
			})
		}
		front.CloseClientConnections()
		front.Close()
	}
}

func newPlain(target *url.URL, transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: transport,
	}
}
