package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func verify(m *testing.M) { goleak.VerifyTestMain(m) }

// site is what outlives a node: its folder, and the provider's key.
type site struct {
	dir    string
	signer *token.Signer
}

func newSite(t *testing.T) site {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := token.GenerateKeys(dir); err != nil {
		t.Fatal(err)
	}
	key, err := token.LoadPrivate(filepath.Join(dir, "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	return site{dir, token.NewSigner(key, time.Now)}
}

func (s site) config(e engine.Engine) Config {
	return Config{
		Engine: e, Log: slog.New(slog.DiscardHandler), Name: "n1",
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", SocketDir: s.dir,
		Auth: AuthToken, TokenPublicKey: filepath.Join(s.dir, "token.pub"),
		StorePath: filepath.Join(s.dir, "store"), StoreQuota: 1 << 20,
		DeviceBudget: 250, HostBudget: 500,
	}
}

// engine knows the given models wherever the store keeps them; each takes 100
// bytes on the device and in the pool.
func (s site) engine(t *testing.T, names ...string) *testengine.Engine {
	e := testengine.New(t.Errorf)
	for _, name := range names {
		cost := engine.Cost{Peak: 100, Resident: 100, Host: 100}
		e.Define(s.path(name), testengine.Model{Cost: cost})
	}
	return e
}

func content(name string) []byte { return []byte("the file of " + name) }

func digest(name string) string {
	sum := sha256.Sum256(content(name))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// path is where the store keeps a model: its engine's output depends on that.
func (s site) path(name string) string {
	return filepath.Join(s.dir, "store", "blobs", strings.TrimPrefix(digest(name), "sha256:"))
}

func (s site) function(t *testing.T, name string) api.FunctionRef {
	return api.FunctionRef{Namespace: "ns", Name: name, UID: "uid-" + name}
}

// client is a function's client over the socket.
func (s site) client(t *testing.T, name string) *api.Client {
	t.Helper()
	raw, _, err := s.signer.Function(s.function(t, name), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, filepath.Join(s.dir, api.SocketOIP), raw)
}

func (s site) provider(t *testing.T, n *Node) *api.Client {
	t.Helper()
	raw, _, err := s.signer.Provider(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, "http://"+n.Address("metrics").String(), raw)
}

func newClient(t *testing.T, address, raw string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{Address: address, Token: func() string { return raw }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func start(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func shutdown(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// bring offers models whose files are content, and has them registered.
func bring(t *testing.T, c *api.Client, names ...string) {
	t.Helper()
	var r api.OfferRequest
	for _, name := range names {
		r.Models = append(r.Models, api.Offer{Name: name, Version: "1", Format: "onnx", Digest: digest(name), Size: int64(len(content(name)))})
	}
	answers, err := c.Offer(t.Context(), r, func(o api.Offer) (api.File, error) { return file{bytes.NewReader(content(o.Name))}, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if a.Need != "" || a.Error != "" {
			t.Fatalf("not registered: %+v", a)
		}
	}
}

// infer runs a model and checks its output. It reports where the model was.
func (s site) infer(c *api.Client, name string, x []byte) (string, error) {
	resp, info, err := c.Infer(context.Background(), api.Call{Model: name}, &oip.Request{
		Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{int64(len(x))}, Data: x}},
	})
	if err != nil {
		return "", err
	}
	defer resp.Release()
	y := resp.Output("y")
	if want := testengine.Expect(s.path(name), x); y == nil || !bytes.Equal(y.Data, want) {
		return "", fmt.Errorf("output of %s is %v, want %v", name, y, want)
	}
	return info.Cache, nil
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that in 10 s")
		}
	}
}
