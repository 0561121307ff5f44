package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestKill kills, under load, a replica, the cache manager and the provider. No
// function, secret or model is lost, what fails says so honestly, and as soon as
// the killed one is back a request is answered correctly.
func TestKill(t *testing.T) {
	l := start(t, lab.Options{})
	secret := types.Secret{Name: "greeting", Namespace: lab.Namespace, Value: "hello"}
	if err := l.System(t.Context(), http.MethodPost, "/system/secrets", secret, nil); err != nil {
		t.Fatal(err)
	}
	build(t, l, "digits", "go-trt", "", nil)
	deploy(t, l, types.FunctionDeployment{Service: "digits", Image: "digits", Secrets: []string{secret.Name}})
	model := generate(t, modelgen.Spec{Family: modelgen.Scale, Seed: 3})
	deployRaw(t, l, "scale", model, raw("input", "output", "1,4"))
	in := floats(1, 2, 3, 4)
	want := invoke(t, l, "scale", "", in)
	if want.Status != http.StatusOK {
		t.Fatalf("scale answered %d: %s", want.Status, want.Body)
	}

	victims := []struct {
		name    string
		kill    func(t *testing.T)
		restart func(t *testing.T)
	}{
		{"replica", func(t *testing.T) {
			for _, pid := range pids(t, l, "scale") {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}, func(*testing.T) {}},
		{"cachemgr", func(t *testing.T) { must(t, l.Cachemgr.Kill()) },
			func(t *testing.T) { must(t, l.Cachemgr.Restart(t.Context())) }},
		{"provider", func(t *testing.T) { must(t, l.Provider.Kill()) },
			func(t *testing.T) { must(t, l.Provider.Restart(t.Context())) }},
	}
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			before := pids(t, l, "digits")
			load := startLoad(t, l, "scale", in, want.Body)
			load.await(t, 50)
			v.kill(t)
			time.Sleep(300 * time.Millisecond) // an init system takes its time too
			v.restart(t)
			within(t, 20*time.Second, func() error {
				a, err := l.Invoke(t.Context(), "scale", "", in)
				return errors.Join(err, judge(a, want.Body))
			})
			load.stop(t, v.name == "provider")
			wantDigit(t, l, "digits")
			wantFunctions(t, l, "digits", "scale")
			wantSecrets(t, l, secret.Name)
			if after := pids(t, l, "digits"); !slices.Equal(before, after) {
				t.Errorf("processes of digits were %v, are %v", before, after)
			}
		})
	}
	t.Run("the secret is still there for new replicas", func(t *testing.T) {
		environ := fmt.Sprintf("/proc/%d/environ", pids(t, l, "digits")[0])
		data, err := os.ReadFile(environ)
		must(t, err)
		for kv := range strings.SplitSeq(string(data), "\x00") {
			if dir, ok := strings.CutPrefix(kv, "secret_mount_path="); ok {
				value, err := os.ReadFile(dir + "/" + secret.Name)
				if err != nil || string(value) != secret.Value {
					t.Errorf("secret is %q, %v", value, err)
				}
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pids(t *testing.T, l *lab.Lab, name string) []int {
	t.Helper()
	pids, err := l.PIDs(name)
	must(t, err)
	slices.Sort(pids)
	return pids
}

// judge is nil for the right answer. Only an honest failure is temporary: a 502,
// 503 or 504 that says why.
func judge(a *lab.Answer, want []byte) error {
	switch {
	case a == nil:
		return errors.New("no answer")
	case a.Status == http.StatusOK && bytes.Equal(a.Body, want):
		return nil
	case a.Status >= 502 && a.Status <= 504 && len(bytes.TrimSpace(a.Body)) > 0:
		return fmt.Errorf("status %d: %s", a.Status, bytes.TrimSpace(a.Body))
	}
	return lab.Final(fmt.Errorf("status %d, not honest or a wrong output: %.200q", a.Status, a.Body))
}

// load calls a function again and again.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	ok, bad int
	refused int            // connections: the provider itself is away
	reasons map[string]int // of the honest failures
	lies    []string       // answers that are neither right nor honest
}

func startLoad(t *testing.T, l *lab.Lab, name string, in, want []byte) *load {
	ctx, cancel := context.WithCancel(t.Context())
	ld := &load{cancel: cancel, reasons: map[string]int{}}
	for range 2 {
		ld.done.Go(func() {
			for ctx.Err() == nil {
				a, err := l.Invoke(ctx, name, "", in)
				ld.count(ctx, a, err, want)
			}
		})
	}
	return ld
}

func (ld *load) count(ctx context.Context, a *lab.Answer, err error, want []byte) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		ld.refused++
		time.Sleep(5 * time.Millisecond) // nobody is there: do not spin
	case judge(a, want) == nil:
		ld.ok++
	case a.Status >= 502 && a.Status <= 504 && len(a.Body) > 0:
		ld.bad++
		ld.reasons[fmt.Sprintf("%d %.200s", a.Status, bytes.TrimSpace(a.Body))]++
	default:
		ld.lies = append(ld.lies, fmt.Sprintf("%d %.200q", a.Status, a.Body))
	}
}

// await waits for some more requests to end in whatever way.
func (ld *load) await(t *testing.T, more int) {
	t.Helper()
	total := func() int {
		ld.mu.Lock()
		defer ld.mu.Unlock()
		return ld.ok + ld.bad + ld.refused + len(ld.lies)
	}
	until := total() + more
	within(t, 40*time.Second, func() error {
		if n := total(); n < until {
			return fmt.Errorf("%d of %d requests have ended", n, until)
		}
		return nil
	})
}

// stop ends the load and judges it.
func (ld *load) stop(t *testing.T, providerAway bool) {
	t.Helper()
	ld.cancel()
	ld.done.Wait()
	t.Logf("%d right, %d honest failures %v, %d connections refused or broken", ld.ok, ld.bad, ld.reasons, ld.refused)
	if len(ld.lies) > 0 {
		t.Errorf("answers neither right nor honest: %s", ld.lies)
	}
	// What the killed one was just doing for the two clients, and what they sent it
	// next while the kernel was still taking it down.
	if ld.bad > 10 {
		t.Errorf("%d requests failed, only those in flight may", ld.bad)
	}
	if ld.refused > 0 && !providerAway {
		t.Errorf("%d requests got no answer although the provider was there", ld.refused)
	}
}

func wantFunctions(t *testing.T, l *lab.Lab, names ...string) {
	t.Helper()
	fns, err := l.List(t.Context())
	must(t, err)
	var got []string
	for _, f := range fns {
		got = append(got, f.Name)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("functions are %v, want %v", got, names)
	}
}

func wantSecrets(t *testing.T, l *lab.Lab, names ...string) {
	t.Helper()
	var raw json.RawMessage
	must(t, l.System(t.Context(), http.MethodGet, "/system/secrets?namespace="+lab.Namespace, nil, &raw))
	var secrets []types.Secret
	must(t, json.Unmarshal(raw, &secrets))
	var got []string
	for _, s := range secrets {
		got = append(got, s.Name)
		if s.Value != "" {
			t.Errorf("the list shows the value of %s", s.Name)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("secrets are %v, want %v", got, names)
	}
}
