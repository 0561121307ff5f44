package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"
	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// still is a runtime whose functions do not change.
type still struct {
	runtime.Runtime
	snapshot *runtime.Snapshot
}

func (s still) Snapshot() *runtime.Snapshot               { return s.snapshot }
func (s still) Changed(*runtime.Snapshot) <-chan struct{} { return nil }
func (s still) Info() runtime.Info                        { return runtime.Info{} }
func (s still) ListNamespaces(context.Context) ([]runtime.Namespace, error) {
	return []runtime.Namespace{{Name: runtime.DefaultNamespace}}, nil
}

// withDigits is a runtime with one function, on one replica that h serves.
func withDigits(t *testing.T, h http.HandlerFunc) still {
	replica := httptest.NewServer(h)
	t.Cleanup(func() { replica.CloseClientConnections(); replica.Close() })
	id := runtime.ID{Namespace: "openfaas-fn", Name: "digits"}
	return still{snapshot: &runtime.Snapshot{Functions: map[runtime.ID]*runtime.Function{id: {
		Deployment: runtime.Deployment{ID: id, Request: types.FunctionDeployment{Service: "digits", Image: "i"}},
		Desired:    1, Replicas: []runtime.Replica{{ID: "r", URL: replica.URL, Ready: true}},
	}}}}
}

func serve(t *testing.T, rt runtime.Runtime) (*Server, net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(Config{Listener: l, Runtime: rt, Limits: DefaultLimits(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, l, "http://" + l.Addr().String()
}

// call invokes digits in the background.
func call(url string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(url + "/function/digits")
		if err != nil {
			answer <- "error: " + err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	return answer
}

func TestShutdownWaitsForRequests(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, l, url := serve(t, withDigits(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "done")
	}))
	answer := call(url)
	<-arrived
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	for { // no new connections
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	arrived := make(chan struct{})
	s, _, url := serve(t, withDigits(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() }))
	answer := call(url)
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v", err)
	}
	if got := <-answer; !strings.HasPrefix(got, "error") {
		t.Errorf("got %q", got)
	}
}

// talkative is a runtime whose logs have no end.
type talkative struct{ still }

func (talkative) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	if err := emit(logs.Message{Name: q.Name, Text: "hello"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestShutdownEndsLogsThatAreFollowed(t *testing.T) {
	s, _, url := serve(t, talkative{withDigits(t, func(http.ResponseWriter, *http.Request) {})})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url + "/system/logs?name=digits&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if lines, err := io.ReadAll(resp.Body); err != nil || strings.Count(string(lines), "\n") != 1 {
		t.Errorf("got %q, %v", lines, err)
	}
}

func TestListenerFails(t *testing.T) {
	s, l, _ := serve(t, still{snapshot: &runtime.Snapshot{}})
	l.Close()
	if err := <-s.Failed(); err == nil {
		t.Error("no error")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Start(Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

func TestCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := Credentials(dir); err == nil {
		t.Error("read what is not there")
	}
	first, err := GenerateCredentials(dir)
	if err != nil || first.User != "admin" || len(first.Password) < 20 {
		t.Fatalf("got %+v, %v", first, err)
	}
	second, err := GenerateCredentials(dir)
	if err != nil || *second != *first {
		t.Errorf("made another password: %+v, %v", second, err)
	}
	info, err := os.Stat(filepath.Join(dir, PasswordFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, PasswordFile), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Credentials(dir); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty password was taken: %v", err)
	}
}

func TestTokens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	signer, err := Signer(dir)
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.LoadPublic(filepath.Join(dir, token.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	verifier := token.NewVerifier(public, time.Now)

	own := &ownToken{signer: signer, log: slog.New(slog.DiscardHandler)}
	raw := own.get()
	if id, err := verifier.Verify(raw); err != nil || id.Require(token.RoleProvider) != nil {
		t.Errorf("the provider's is %+v, %v", id, err)
	}
	if own.get() != raw {
		t.Error("made another one at once")
	}
	own.renew = time.Now()
	if own.get() == raw {
		t.Error("not renewed")
	}

	made, err := FunctionTokens(signer)(runtime.ID{Namespace: "n", Name: "f"}, "u")
	if err != nil || time.Until(made.Expires) < 23*time.Hour {
		t.Fatalf("got %+v, %v", made, err)
	}
	id, err := verifier.Verify(string(made.Value))
	if err != nil || id.Require(token.RoleFunction) != nil {
		t.Errorf("the function's is %+v, %v", id, err)
	}
}

func TestNodeClients(t *testing.T) {
	signer, err := Signer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	clients, closeAll, err := NodeClients([]string{"/run/a.sock", "http://127.0.0.1:1"}, signer, log)
	if err != nil || len(clients) != 2 {
		t.Fatalf("got %v, %v", clients, err)
	}
	closeAll()
	if _, _, err := NodeClients([]string{"ftp://x"}, signer, log); err == nil || !strings.Contains(err.Error(), "ftp://x") {
		t.Errorf("got %v", err)
	}
}
