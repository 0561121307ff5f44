package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// benchManager has a model of n floats that costs nothing to run.
func benchManager(n int64) *fakeManager {
	m := newFakeManager()
	m.spec.Inputs = []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: []int64{n}}}
	m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{n}}}
	m.infer = func(context.Context, cachemgr.Request) (cachemgr.Result, error) {
		return cachemgr.Result{Outcome: api.CacheHit, Device: "cpu", Engine: "fake"}, nil
	}
	return m
}

// message is a request for n floats, and the length of its header.
func message(b *testing.B, n int64) ([]byte, string) {
	b.Helper()
	m, err := oip.NewCodec(1<<30).EncodeRequest(&oip.Request{
		Inputs:        []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{n}, Data: make([]byte, 4*n)}},
		BinaryOutputs: true,
	}, true)
	if err != nil {
		b.Fatal(err)
	}
	var body bytes.Buffer
	if _, err := m.WriteTo(&body); err != nil {
		b.Fatal(err)
	}
	return body.Bytes(), strconv.FormatInt(m.HeaderSize(), 10)
}

// overSocket serves h on a Unix socket and returns a client of it.
func overSocket(b *testing.B, h http.Handler) *http.Client {
	b.Helper()
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableCompression: true, MaxIdleConnsPerHost: 64,
	}
	b.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
		<-done
	})
	return &http.Client{Transport: transport}
}

func roundTrips(b *testing.B, c *http.Client, body []byte, headers ...string) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	answer := make([]byte, len(body)+4096)
	for b.Loop() {
		r, err := http.NewRequest("POST", "http://x"+inferPath, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.ReadFull(resp.Body, answer)
		resp.Body.Close()
		if resp.StatusCode != 200 || err != io.ErrUnexpectedEOF {
			b.Fatalf("%d %v: %s", resp.StatusCode, err, answer[:min(n, 200)])
		}
	}
}

var sizes = []struct {
	name   string
	floats int64
}{{"1KiB", 256}, {"600KB", 3 * 224 * 224}}

// BenchmarkInfer is a request through the server over a Unix socket, without an
// engine.
func BenchmarkInfer(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			s := benchServer(b, benchManager(size.floats))
			body, headerLength := message(b, size.floats)
			roundTrips(b, overSocket(b, s), body, oip.HeaderLength, headerLength)
		})
	}
}

// BenchmarkEcho is the floor: the same bytes, read and sent back.
func BenchmarkEcho(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			body, _ := message(b, size.floats)
			roundTrips(b, overSocket(b, http.HandlerFunc(echo)), body)
		})
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// BenchmarkHandler is what the server itself does for a request, without a
// connection.
func BenchmarkHandler(b *testing.B) {
	s := benchServer(b, benchManager(256))
	body, headerLength := message(b, 256)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", inferPath, bytes.NewReader(body))
		r.Header.Set(oip.HeaderLength, headerLength)
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}

func benchServer(b *testing.B, m *fakeManager) *Server {
	b.Helper()
	s, err := New(Config{Manager: m, Store: openStore(b, b.TempDir()), Auth: Everybody{}, Log: discard()})
	if err != nil {
		b.Fatal(err)
	}
	addModel(b, s, api.FunctionRef{}, "twice", "1")
	b.Cleanup(s.Close)
	return s
}
