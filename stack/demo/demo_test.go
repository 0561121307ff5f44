package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twoFunctions answer their input plus one byte.
func twoFunctions() []*function {
	raw := func(b []byte) ([]byte, error) { return b, nil }
	f := []*function{{name: "a", raw: raw}, {name: "b", raw: raw}}
	for _, each := range f {
		each.cases = []sample{{body: []byte("1"), want: []byte("1+")}, {body: []byte("2"), want: []byte("2+")}}
	}
	return f
}

func TestMixIsSkewedAndRepeats(t *testing.T) {
	fns := make([]*function, 4)
	for i := range fns {
		fns[i] = &function{name: fmt.Sprint(i), cases: make([]sample, 3)}
	}
	const n = 20000
	count := map[string]int{}
	mix := newMix(fns, n, 7)
	for _, p := range mix {
		count[p.function.name]++
	}
	total := 1 + 1./2 + 1./3 + 1./4
	for i, f := range fns {
		want := n / float64(i+1) / total
		if got := float64(count[f.name]); math.Abs(got-want) > 0.1*want {
			t.Errorf("function %d: %g requests, want about %g", i, got, want)
		}
	}
	for i, p := range newMix(fns, n, 7) {
		if p != mix[i] {
			t.Fatalf("request %d differs with the same seed", i)
		}
	}
}

// serve is a gateway whose functions answer as handler does.
func serve(t *testing.T, handler http.HandlerFunc) *gateway {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return &gateway{url: server.URL, password: "secret", http: client}
}

func TestSendComparesEveryAnswer(t *testing.T) {
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set(api.HeaderCache, api.CacheHit)
		if strings.HasPrefix(r.URL.Path, "/function/b.") && string(body) == "2" {
			body = []byte("3")
		}
		fmt.Fprintf(w, "%s+", body)
	})
	fns := twoFunctions()
	mix := newMix(fns, 200, 1)
	wrong := 0
	for _, p := range mix {
		if p.sample == &fns[1].cases[1] {
			wrong++
		}
	}
	tally := newTally()
	if err := send(t.Context(), g, mix, 3, tally); err != nil {
		t.Fatal(err)
	}
	if tally.requests != 200 || tally.wrong != wrong || wrong == 0 {
		t.Errorf("%d requests, %d wrong, want 200 and %d", tally.requests, tally.wrong, wrong)
	}
	if got := len(tally.of(nil, api.CacheHit)); got != 200 {
		t.Errorf("%d hits", got)
	}
}

func TestSendStopsAtAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"error":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no memory", 503) }, "no memory"},
		"no cache outcome": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1+") }, api.HeaderCache},
	} {
		t.Run(name, func(t *testing.T) {
			err := send(t.Context(), serve(t, c.handler), newMix(twoFunctions(), 50, 1), 2, newTally())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestScaleToZeroWaits(t *testing.T) {
	polls := 0
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			http.Error(w, "who are you", 401)
			return
		}
		if r.Method == http.MethodPost {
			w.WriteHeader(202)
			return
		}
		polls++
		json.NewEncoder(w).Encode(map[string]any{"replicas": 0, "availableReplicas": max(0, 3-polls)})
	})
	if err := g.scaleToZero(t.Context(), "a"); err != nil || polls != 3 {
		t.Errorf("%v after %d polls", err, polls)
	}
}

func TestResultCheck(t *testing.T) {
	good := result{DigitsAccuracy: 0.98, Evictions: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for want, r := range map[string]result{
		"accuracy": {DigitsAccuracy: 0.96, Evictions: 1},
		"differ":   {DigitsAccuracy: 0.98, Evictions: 1, WrongOutputs: 1},
		"evicted":  {DigitsAccuracy: 0.98},
	} {
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestSummaryAndTable(t *testing.T) {
	fns := twoFunctions()
	tally := newTally()
	for i, cache := range []string{"load", "swap", "swap", "hit", "hit", "hit"} {
		tally.add(fns[0], &fns[0].cases[0], reply{[]byte("1+"), cache, time.Duration(i+1) * time.Millisecond})
	}
	rows := []row{
		{fns[0], 3 << 20, api.CacheStats{Hits: 3, Swaps: 2, Loads: 1, Evictions: 2}, 40 * time.Millisecond},
		{fns[1], 1 << 19, api.CacheStats{}, 60 * time.Millisecond},
	}
	got := summarize(rows, tally, 0.98)
	want := result{Functions: 2, DigitsAccuracy: 0.98, Requests: 6, Hits: 3, Misses: 3, Evictions: 2,
		HitP50: 5, SwapP50: 2.5, LoadP50: 1, ColdStart: 50}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var out strings.Builder
	if err := printTable(&out, rows, tally); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "3.00") || !strings.Contains(lines[2], "-") {
		t.Errorf("table:\n%s", out.String())
	}
}

func TestCLIRunsWithTheEnvFile(t *testing.T) {
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	if err := os.WriteFile(env, []byte("export GREETING='hello there'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, log strings.Builder
	c := &cli{program: "sh", envFile: env, dir: dir, out: &out, log: &log}
	script := filepath.Join(dir, "s")
	if err := os.WriteFile(script, []byte("echo \"$GREETING\"; cat; pwd; exit $1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := c.runWith(t.Context(), containing("hello"), script+" 0", "< in", []byte("input\n"))
	if err != nil || got != "hello there\ninput\n"+dir+"\n" {
		t.Errorf("output %q, %v", got, err)
	}
	if shown := out.String(); !strings.Contains(shown, "  hello there\n") || strings.Contains(shown, "input") || !strings.Contains(shown, "< in") {
		t.Errorf("shown: %q", shown)
	}
	if _, err := c.run(t.Context(), all, script+" 3"); err == nil || !strings.Contains(err.Error(), "hello there") {
		t.Errorf("a failing command: %v", err)
	}
	if v, err := c.env(t.Context(), "GREETING"); err != nil || v != "hello there" {
		t.Errorf("env: %q, %v", v, err)
	}
	if _, err := c.env(t.Context(), "NOT_THERE"); err == nil {
		t.Error("a variable that is not there was found")
	}
}

func TestRunSaysWhyItFailed(t *testing.T) {
	for want, environ := range map[string][]string{
		"demo_requests":  {"demo_requests=many"},
		"libnothing.so":  {"demo_dir=" + t.TempDir() + "/d", "ONNXRUNTIME_LIB=/libnothing.so"},
		"embedded stack": {"demo_dir=" + t.TempDir() + "/d", "ONNXRUNTIME_LIB=" + os.Getenv("ONNXRUNTIME_LIB"), "embedded_stack=/bin/false"},
	} {
		if want == "embedded stack" && os.Getenv("ONNXRUNTIME_LIB") == "" {
			t.Log("ONNXRUNTIME_LIB is not set: the failure of the stack is not tested")
			continue
		}
		var out strings.Builder
		if code := run(context.Background(), environ, &out); code == 0 {
			t.Errorf("%v succeeded", environ)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		last := lines[len(lines)-1]
		if !strings.HasPrefix(last, "DEMO FAILED {") || !strings.Contains(last, want) {
			t.Errorf("last line %q does not name %s", last, want)
		}
	}
}

func TestEmptyFolderSparesWhatIsNotTheDemos(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for range 2 { // missing, then the demo's own
		if err := emptyFolder(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, marker)); err != nil {
		t.Fatal(err)
	}
	if err := emptyFolder(dir); err == nil || !strings.Contains(err.Error(), "demo_dir") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "left")); err != nil {
		t.Error("a file that is not the demo's is gone")
	}
}
