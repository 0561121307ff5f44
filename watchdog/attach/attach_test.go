package attach

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// function is an attachment of a function with model "digits" (versions 1 and 2)
// and model "other".
type function struct {
	*Attachment
	client *api.Client
	log    *journal
}

// journal keeps what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

func attachTo(t *testing.T, socket string, wait time.Duration) *function {
	t.Helper()
	dir := t.TempDir()
	for path, content := range map[string]string{"digits/1": "one", "digits/2": "two", "other/1": "one"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path, "model.onnx"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := models.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder.Digests(t.Context(), filepath.Join(t.TempDir(), "cache"))
	client, err := api.NewClient(api.ClientConfig{Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) bool { return false }
	log := &journal{}
	a := New(Options{Client: client, Models: folder, Preload: none, Pin: none, Wait: wait,
		Log: slog.New(slog.NewTextHandler(log, nil)), Registry: prometheus.NewRegistry()})
	t.Cleanup(func() {
		a.Close()
		client.Close()
	})
	return &function{a, client, log}
}

func (f *function) infer(ctx context.Context, model string) error {
	resp, info, err := f.Infer(ctx, api.Call{Model: model}, echoed())
	if err == nil {
		if string(resp.Outputs[0].Data) != "12345678" || info.Cache != api.CacheSwap {
			err = errors.New("the answer is wrong")
		}
		resp.Release()
	}
	return err
}

func echoed() *oip.Request {
	return &oip.Request{BinaryOutputs: true, Inputs: []tensor.Tensor{
		{Name: "x", Datatype: tensor.FP32, Shape: []int64{1, 2}, Data: []byte("12345678")},
	}}
}

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "oip.sock") }

// awaitReady polls until the models can serve, or cannot for the reason given.
func (f *function) awaitReady(t *testing.T, reason string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := f.Ready(t.Context())
		if err == nil && reason == "" || err != nil && reason != "" && strings.Contains(err.Error(), reason) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("ready is %v, want %q", err, reason)
		}
	}
}

func TestOfferedAtTheStart(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	if err := f.infer(t.Context(), "digits"); err != nil {
		t.Error(err)
	}
	f.awaitReady(t, "")
	status, err := f.Status(t.Context())
	if err != nil || status.Node != "fake" {
		t.Errorf("status is %+v, %v", status, err)
	}
	if f.has("digits", "2") != true || f.has("digits", "3") || f.has("nothing", "") {
		t.Error("has is wrong")
	}
}

func TestModelsOfOthersAreUnknown(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	err := f.infer(t.Context(), "foreign")
	if !api.IsUnknownModel(err) || !strings.Contains(err.Error(), "it has digits, other") {
		t.Errorf("error is %v", err)
	}
	_, _, err = f.Infer(t.Context(), api.Call{Model: "digits", Version: "9"}, echoed())
	if !api.IsUnknownModel(err) || !strings.Contains(err.Error(), `no version "9" of model "digits"; it has 1, 2`) {
		t.Errorf("error is %v", err)
	}
}

func TestForgottenModelsAreOfferedAgain(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	before := s.Offers()
	s.Forget()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := f.infer(t.Context(), "digits"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// One offer and the round that proves; a request that asked before the first
	// round was through may cause them once more.
	if n := s.Offers() - before; n > 8 {
		t.Errorf("%d offers for one loss", n)
	}
}

func TestRestartWhileRequestsCome(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	s.Kill()
	results := make(chan error)
	for range 8 {
		go func() { results <- f.infer(t.Context(), "digits") }()
	}
	f.awaitReady(t, "models cannot be used now")
	s.Restart(t, true)
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestRestartThatRemembersMakesNobodyWait(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	before := s.Offers()
	s.Kill()
	s.Restart(t, false)
	f.client.Close() // connections to the old run
	if err := f.infer(t.Context(), "digits"); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.Offers() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the models were not offered to the new run")
		}
	}
}

func TestCacheManagerAway(t *testing.T) {
	f := attachTo(t, socket(t), 30*time.Millisecond)
	err := f.infer(t.Context(), "digits")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := f.infer(ctx, "digits"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	f.awaitReady(t, "no such file")
	if _, err := f.Status(t.Context()); !api.IsUnavailable(err) {
		t.Errorf("status: %v", err)
	}
	f.Close()
	if err := f.infer(t.Context(), "digits"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestKilledInTheMiddleOfARequest(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	f.awaitReady(t, "")
	s.Hold(func() { s.Gate = make(chan struct{}) })
	cut := make(chan error, 1)
	go func() { cut <- f.infer(t.Context(), "digits") }()
	for len(s.Headers()) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Kill()
	s.Hold(func() { s.Gate = nil })
	s.Restart(t, true)
	// On a pooled connection the client repeats it; else the caller decides.
	if err := <-cut; err != nil && !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("the request that was cut off: %v", err)
	}
	if err := f.infer(t.Context(), "digits"); err != nil {
		t.Error(err)
	}
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f := NewTokenFile(path)
	if got := f.Token(); got != "" {
		t.Errorf("token without file is %q", got)
	}
	write := func(v string) {
		if err := os.WriteFile(path+".new", []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	// later makes the last look old.
	later := func() {
		last := *f.last.Load()
		last.at = last.at.Add(-2 * tokenCheck)
		f.last.Store(&last)
	}
	for _, want := range []string{"first", "second", "third"} {
		write(want + "\n")
		later()
		if got := f.Token(); got != want {
			t.Errorf("token is %q, want %q", got, want)
		}
	}
	write("fourth")
	if got := f.Token(); got != "third" {
		t.Errorf("the file was looked at again at once: %q", got)
	}
	later()
	f.Token()
	later()
	if got := f.Token(); got != "fourth" {
		t.Errorf("an unchanged file gave %q", got)
	}
}

var _ Client = (*api.Client)(nil)
