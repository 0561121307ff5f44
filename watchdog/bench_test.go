package watchdog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/attach"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
	"github.com/faas-gpu/faas-gpu/watchdog/server"
	"github.com/prometheus/client_golang/prometheus"
)

// drop is a sink for request lines.
type drop struct{}

func (drop) Line([]byte) {}

// BenchmarkFunction is a request to a function over TCP whose model is in a cache
// manager behind a Unix socket, against the floor of it: net/http doing no more
// than passing the bytes there and back.
func BenchmarkFunction(b *testing.B) {
	dir := b.TempDir()
	floor := serveFloor(b, filepath.Join(dir, "echo.sock"))
	function := serveFunction(b, filepath.Join(dir, "oip.sock"))
	for _, size := range []int{1 << 10, 602112} {
		for _, tc := range []struct{ name, url string }{{"floor", floor}, {"infer", function}} {
			b.Run(fmt.Sprintf("%s/%d", tc.name, size), func(b *testing.B) {
				body, answer := make([]byte, size), make([]byte, size)
				b.SetBytes(int64(2 * size))
				b.ReportAllocs()
				for b.Loop() {
					resp, err := http.Post(tc.url, "application/octet-stream", bytes.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(resp.Body, answer); err != nil {
						b.Fatal(err)
					}
					resp.Body.Close()
				}
			})
		}
	}
}

// serveFloor passes bodies on to an echo with net/http alone.
func serveFloor(b *testing.B, socket string) string {
	serveOn(b, "unix", socket, func(w http.ResponseWriter, r *http.Request) { echoBody(w, r.Body, r.ContentLength) })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	b.Cleanup(transport.CloseIdleConnections)
	return "http://" + serveOn(b, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		io.ReadFull(r.Body, body)
		out, err := http.NewRequestWithContext(r.Context(), "POST", "http://echo/", bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		resp, err := transport.RoundTrip(out)
		if err != nil {
			b.Error(err)
			return
		}
		defer resp.Body.Close()
		echoBody(w, resp.Body, resp.ContentLength)
	})
}

func echoBody(w http.ResponseWriter, r io.Reader, n int64) {
	body := make([]byte, n)
	io.ReadFull(r, body)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Write(body)
}

func serveOn(b *testing.B, network, address string, h http.HandlerFunc) string {
	ln, err := net.Listen(network, address)
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(ln)
	b.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// serveFunction serves a handler that takes and answers FP32 values as they are.
func serveFunction(b *testing.B, socket string) string {
	fakecache.Start(b, socket)
	dir := b.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "models/echo/1"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "models/echo/1/model.onnx"), []byte("model"), 0o600); err != nil {
		b.Fatal(err)
	}
	folder, err := models.Read(filepath.Join(dir, "models"))
	if err != nil {
		b.Fatal(err)
	}
	folder.Digests(b.Context(), filepath.Join(dir, "digests"))
	client, err := api.NewClient(api.ClientConfig{Address: socket})
	if err != nil {
		b.Fatal(err)
	}
	none := func(string) bool { return false }
	log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	a := attach.New(attach.Options{Client: client, Models: folder, Preload: none, Pin: none, Wait: time.Minute, Log: log, Registry: registry})
	p := attach.NewProxy(a, socket, func() string { return "" })
	cfg, err := config.Read([]string{"TMPDIR=" + dir}, config.InProcess)
	if err != nil {
		b.Fatal(err)
	}
	s := server.New(server.Options{Config: cfg, Function: http.HandlerFunc(echoThroughModel), Log: log, Lines: drop{}, Registry: registry,
		Models: struct {
			*attach.Attachment
			*attach.Proxy
		}{a, p}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx, ln, nil)
	}()
	b.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		<-ended
		a.Close()
		p.Close()
		client.Close()
	})
	return "http://" + ln.Addr().String()
}

func echoThroughModel(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := Model("echo").Infer(r.Context(), Tensor{Name: "x", Datatype: "FP32", Shape: []int64{r.ContentLength / 4}, Data: body})
	if err != nil {
		Error(w, err)
		return
	}
	defer out.Release()
	x, _ := out.Tensor("x")
	w.Header().Set("Content-Length", strconv.Itoa(len(x.Data)))
	w.Write(x.Data)
}
