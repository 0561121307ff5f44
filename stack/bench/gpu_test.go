package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

// Every phase of gpu.sh runs on the driver double, so that a session on a GPU
// brings no surprise.
func TestGPUPhasesOnTheDouble(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs and runs them for some seconds")
	}
	library := testlibs.Double(t)
	dir := t.TempDir()
	environ := append(os.Environ(), "GPU_DOUBLE=1", "GPU_BUILD="+filepath.Dir(library), "GPU_PACK="+filepath.Join(dir, "pack"),
		"GPU_WORK="+filepath.Join(dir, "w"), "GPU_RESULTS="+filepath.Join(dir, "results"), "OUT=")
	script := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"gpu.sh"}, args...)...)
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("gpu.sh %v: %v\n%s", args, err, out)
		}
		return out
	}
	script("pack")
	script("collect")
	out := script("run", "setup", "build", "telemetry", "shim", "ledger", "socket", "startup", "changeover", "swaps", "baselines", "replay", "summary")
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var ended map[string]struct{ Status int }
	if err := json.Unmarshal(lines[len(lines)-1], &ended); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for phase, e := range ended {
		if e.Status != 0 {
			t.Errorf("%s: status %d", phase, e.Status)
		}
	}
	if t.Failed() {
		t.Fatalf("%s", out)
	}
	checkDoubleSummary(t, filepath.Join(dir, "results", "summary.json"))
}

func checkDoubleSummary(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s result
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if n := s.number("wrong_outputs", "value"); n != 0 {
		t.Errorf("%g wrong outputs", n)
	}
	if ms := s.number("telemetry", "scrape_ms"); !(ms > 0) {
		t.Errorf("a scrape took %g ms", ms)
	}
	if n := s.number("swaps", "value"); !(n >= 1000) {
		t.Errorf("%g swaps", n)
	}
	// Models with the same output would hide that one runs with another's weights.
	if models, different := s.number("models", "value"), s.number("mix", "different_outputs"); models != different || models < 20 {
		t.Errorf("%g models, %g different outputs", models, different)
	}
	// The plan gives the bits that the CPU gave, and no request noticed it come.
	if failed, difference := s.number("changeover", "failed"), s.number("changeover", "largest_difference"); failed != 0 || difference != 0 {
		t.Errorf("changeover: %g requests failed, outputs differ by %g", failed, difference)
	}
	for _, path := range [][]string{
		{"socket_over_echo", "value"}, {"startup", "kill_to_first_answer_ms", "p50"}, {"startup", "device_lost_to_first_answer_ms"},
		{"changeover", "answers", "onnxruntime"}, {"changeover", "answers", "tensorrt"},
		{"baseline_load_on_demand", "miss_ms", "p50"}, {"baseline_process_per_model", "request_ms", "p50"},
	} {
		if x := s.number(path...); !(x > 0) {
			t.Errorf("%v is %g", path, x)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

func TestGPUSummary(t *testing.T) {
	dir := t.TempDir()
	raw := `{"part":"setup","device":"NVIDIA H200"}
{"part":"shim","model":"resnet50-loaders2","h2d_fraction":0.97,"hit_over_native":1.01,"miss_over_bound":1.02,"ceiling_ms":1.0,"hit_ms":0.5,"all_miss_over_bound":1.2,"wrong_outputs":0}
{"part":"shim","model":"vgg16-loaders2","h2d_fraction":0.94,"hit_over_native":1.5,"miss_over_bound":1.04,"ceiling_ms":5.0,"hit_ms":0.3,"all_miss_over_bound":1.04,"wrong_outputs":1}
{"part":"shim","model":"resnet50-loaders1","h2d_fraction":0.1,"wrong_outputs":0}
{"part":"socket","name":"resnet50","socket_over_echo":9}
{"part":"socket","name":"resnet50","socket_over_echo":1.7,"all_miss":[{"miss_fraction":0.5,"ms_per_request":0.6,"wrong_outputs":0},{"miss_fraction":0.95,"ms_per_request":1.045,"wrong_outputs":2}]}
{"part":"models","name":"mix","models":1000,"driver_drift_mb":-70,"after_swaps":{"ledger_error":-0.004}}
`
	if err := os.WriteFile(filepath.Join(dir, "raw.jsonl"), []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := gpuSummary(t.Context(), gpuOptions{plans: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := got.(map[string]any)
	for field, want := range map[string]struct {
		value   float64
		reached bool
	}{
		"h2d_fraction":               {0.94, false},
		"hit_over_native":            {1.01, true},
		"miss_over_bound":            {1.04, true},
		"all_miss_over_bound":        {1.2, false},
		"all_miss_over_bound_socket": {1.1, true},
		"socket_over_echo":           {1.7, true},
		"models":                     {1000, true},
		"wrong_outputs":              {3, false},
		"driver_drift_mb":            {-70, false},
		"ledger_error":               {-0.004, true},
	} {
		f, _ := s[field].(map[string]any)
		if value, _ := f["value"].(float64); math.Abs(value-want.value) > 1e-9 || f["reached"] != want.reached {
			t.Errorf("%s: %v, want %v", field, f, want)
		}
	}
	if want := []string{"mean_model_mb", "residual_mb_per_model", "swaps", "suite", "startup", "changeover", "telemetry", "baselines"}; !slices.Equal(s["missing"].([]string), want) {
		t.Errorf("missing %v, want %v", s["missing"], want)
	}
}
