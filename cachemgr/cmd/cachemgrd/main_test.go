package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func TestHelpAndBadConfiguration(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-help"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"listen", "memory_limit", "onnxruntime_library", "shutdown_timeout", "token_public_key"} {
		if !strings.Contains(out.String(), "\n"+name+" ") {
			t.Errorf("%s is not in\n%s", name, &out)
		}
	}
	for says, c := range map[string]struct{ args, environ []string }{
		"unknown argument":     {[]string{"serve"}, nil},
		"token_public_key":     {nil, nil},
		"threads":              {nil, []string{"auth=none", "threads=many"}},
		"/none":                {nil, []string{"auth=none", "onnxruntime_library=/none"}},
		"process_memory_limit": {nil, []string{"auth=none", "process_memory_limit=lots"}},
	} {
		if err := run(t.Context(), c.args, c.environ, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v %v: %v", c.args, c.environ, err)
		}
	}
}

func TestConcurrency(t *testing.T) {
	for _, c := range []struct{ processors, threads, want int }{{8, 0, 1}, {8, 1, 8}, {8, 3, 2}, {2, 4, 1}} {
		if got := cpuConcurrency(c.processors, c.threads); got != c.want {
			t.Errorf("%d processors, %d threads a request: %d", c.processors, c.threads, got)
		}
	}
}

// offers are models of the generator, each named by its family, and their files.
func offers(t *testing.T, families ...modelgen.Family) (api.OfferRequest, map[string][]byte) {
	t.Helper()
	var request api.OfferRequest
	files := map[string][]byte{}
	for _, f := range families {
		var b bytes.Buffer
		if err := modelgen.Write(&b, modelgen.Spec{Family: f}); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b.Bytes())
		files[string(f)] = b.Bytes()
		request.Models = append(request.Models, api.Offer{
			Name: string(f), Version: "1", Format: "onnx",
			Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(b.Len()),
		})
	}
	return request, files
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// start runs the program on the CPU with its socket in a folder, until stop is
// called, and returns a client of it once it is ready.
func start(t *testing.T, environ ...string) (c *api.Client, stop func() error) {
	t.Helper()
	dir := socketDir(t)
	return startIn(t, dir, append([]string{"onnxruntime_library=" + onnxLibrary(t), "threads=1"}, environ...)...)
}

func onnxLibrary(t *testing.T) string {
	t.Helper()
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		t.Skip("ONNXRUNTIME_LIB does not name ONNX Runtime's library")
	}
	return library
}

// socketDir is a folder whose path is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cachemgrd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// startIn is start with a folder that there is, and nothing said of engines.
func startIn(t *testing.T, dir string, environ ...string) (c *api.Client, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, nil, append([]string{
			"auth=none", "listen=off", "metrics_listen=off", "socket_dir=" + dir, "store_path=" + filepath.Join(dir, "store"),
		}, environ...), io.Discard, io.Discard)
	}()
	c, err := api.NewClient(api.ClientConfig{Address: filepath.Join(dir, api.SocketOIP)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ready, _ := c.ServerReady(ctx); ready {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not ready after 30 s")
		}
	}
	return c, func() error {
		cancel()
		return <-ended
	}
}

func TestProgramServesModels(t *testing.T) {
	c, stop := start(t, "memory_limit=1Gi")
	request, files := offers(t, modelgen.Relu, modelgen.Endless, modelgen.Huge)
	answers, err := c.Offer(t.Context(), request, func(o api.Offer) (api.File, error) {
		return file{bytes.NewReader(files[o.Name])}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if a.Error != "" {
			t.Fatal(a.Error)
		}
	}
	checkRelu(t, c, api.CacheLoad)
	checkRelu(t, c, api.CacheHit)

	// One model that never ends, and one that asks for all memory: each fails
	// with the reason, and the others go on.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err = c.Infer(ctx, api.Call{Model: string(modelgen.Endless)}, request1("input", tensor.FP32, []int64{1}, make([]byte, 4)))
	if err == nil {
		t.Error("a model that never ends has answered")
	}
	_, _, err = c.Infer(t.Context(), api.Call{Model: string(modelgen.Huge)},
		request1("n", tensor.Int64, []int64{1}, binary.LittleEndian.AppendUint64(nil, 1<<30)))
	if refused := (*api.Error)(nil); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("a model that asks for 64 GiB: %v", err)
	}
	checkRelu(t, c, api.CacheHit)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func request1(name string, d tensor.Datatype, shape []int64, data []byte) *oip.Request {
	return &oip.Request{Inputs: []tensor.Tensor{{Name: name, Datatype: d, Shape: shape, Data: data}}}
}

// checkRelu runs the model and checks what it gives, and where it was.
func checkRelu(t *testing.T, c *api.Client, found string) {
	t.Helper()
	const n = 3 * 224 * 224
	minusOne := bytes.Repeat([]byte{0, 0, 0x80, 0xbf}, n)
	resp, info, err := c.Infer(t.Context(), api.Call{Model: string(modelgen.Relu)},
		request1("input", tensor.FP32, []int64{1, 3, 224, 224}, minusOne))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	if y := resp.Outputs[0].Data; !bytes.Equal(y, make([]byte, 4*n)) {
		t.Errorf("relu(-1) is not 0 everywhere: %v…", y[:16])
	}
	if info.Cache != found {
		t.Errorf("a %s, want a %s", info.Cache, found)
	}
}
