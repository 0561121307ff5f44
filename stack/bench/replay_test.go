package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/stack/bench/function"
	"github.com/faas-gpu/faas-gpu/stack/sim"
	"github.com/faas-gpu/faas-gpu/watchdog"
)

// The functions that replay deploys are this program.
func TestMain(m *testing.M) {
	if os.Getenv(functionVariable) != "" {
		os.Exit(watchdog.Main(function.Handle))
	}
	goleak.VerifyTestMain(m)
}

// TestReplay is a short run on two real nodes.
func TestReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs and runs them for half a minute")
	}
	if _, err := os.Stat("../../.build/onnxruntime/libonnxruntime.so"); err != nil && os.Getenv("ONNXRUNTIME_LIB") == "" {
		t.Skipf("no ONNX Runtime (`make deps` installs it): %v", err)
	}
	dir := t.TempDir()
	cdf, out := filepath.Join(dir, "cdf.json"), filepath.Join(dir, "out.jsonl")
	got, err := replay(t.Context(), []string{"-functions", "4", "-length", "1s", "-seeds", "1", "-policies", "lb,swap", "-cdf", cdf, "-out", out})
	if err != nil {
		t.Fatal(err)
	}
	r := got.(map[string]any)
	if r["wrong_outputs"] != 0 || r["failed"] != 0 {
		t.Errorf("wrong outputs %v, failed %v; want none", r["wrong_outputs"], r["failed"])
	}
	lb := r["policies"].(map[string]any)["lb"].(map[string]any)
	if mean := lb["mean_ms"].(meanInterval).Mean; !(mean > 0) || !(lb["simulated_mean_ms"].(float64) > 0) {
		t.Errorf("lb: %v", lb)
	}
	var latencies map[string]map[string][]float64
	if err := readJSON(cdf, &latencies); err != nil || len(latencies["measured"]["swap"]) == 0 || len(latencies["simulated"]["lb"]) == 0 {
		t.Errorf("distributions: %v, %v", latencies, err)
	}
	line, err := os.ReadFile(out)
	if err != nil || json.Unmarshal(line, &r) != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("the file of results: %q, %v", line, err)
	}
}

func TestReplayRefusals(t *testing.T) {
	for _, args := range [][]string{
		{"-functions", "0"}, {"-nodes", "0"}, {"-seeds", ""}, {"-seeds", "x"}, {"-policies", "best"}, {"-share", "0"}, {"-busy", "1"},
		{"-credits", "-1"}, {"-trace", "none"}, {"-plans", "here"}, {"-shape", "round", "-dir", "/nowhere"},
	} {
		if _, err := replay(context.Background(), args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// TestMeanOf compares with a table of Student's distribution: 2.776 for five values.
func TestMeanOf(t *testing.T) {
	got := meanOf([]float64{1, 2, 3, 4, 5})
	half := 2.776 * math.Sqrt(2.5/5)
	if got.Mean != 3 || math.Abs(got.Hi-3-half) > 1e-3 || math.Abs(3-got.Lo-half) > 1e-3 {
		t.Errorf("got %+v, want 3 and %.4f to both sides", got, half)
	}
	if one := meanOf([]float64{7}); one != (meanInterval{7, 7, 7}) {
		t.Errorf("of one value: %+v", one)
	}
}

// TestCountsEveryRequest: one that fails, and one that is wrong, count.
func TestCountsEveryRequest(t *testing.T) {
	c := &cell{workload: sim.Workload{Functions: 1, Requests: make([]sim.Request, 3)}, outcomes: map[string]int{}}
	c.workload.Requests[2].At = 1e9
	answers := make([]answer, 3)
	answers[0].err = os.ErrDeadlineExceeded
	answers[1].wrong = true
	answers[2].timing.Compute = 5e8
	c.count(answers, 2)
	if c.failed != 1 || c.wrong != 1 || len(c.latencies) != 2 || c.busy != 0.25 || c.reason == "" {
		t.Errorf("got %+v", c)
	}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sim-lalb.json", `{"functions_15":{"policies":{"lb":{"mean_ms":2000,"p99_ms":9000},"swap":{"mean_ms":900,"p99_ms":3000}}},
		"functions_25":{"policies":{"lb":{"mean_ms":4000,"p99_ms":12000},"swap":{"mean_ms":950,"p99_ms":3500}}}}`)
	write("replay-cpu-cdf.json", `{"measured":{"lb":[1,2,3],"swap":[0,1,2]},"simulated":{"lb":[1,2,4]}}`)
	got, err := plots(context.Background(), []string{"-data", dir, "-out", dir})
	if err != nil {
		t.Fatal(err)
	}
	if written := got.(map[string]any)["written"].([]string); len(written) != 2 {
		t.Fatalf("%v were drawn, want the two that have data", written)
	}
	for _, name := range []string{"working-set.svg", "cdf-replay.svg"} {
		if svg, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(svg, []byte("</svg>")) || !bytes.Contains(svg, []byte(">swap<")) {
			t.Errorf("%s: %.100q, %v", name, svg, err)
		}
	}
	write("replay-cpu-cdf.json", `{`)
	if _, err := plots(context.Background(), []string{"-data", dir, "-out", dir}); err == nil {
		t.Error("data that are no JSON: no error")
	}
}

func TestSwapsThatNobodySawAreThoseOfTheOthers(t *testing.T) {
	subjects := []*replaySubject{{kind: "small", bytes: 10}, {kind: "large", bytes: 40}}
	found := map[string]*measures{"small": {ways: 9}, "large": {ways: 3, swap: 8 * time.Millisecond, swaps: 2}}
	if err := guessSwaps(subjects, found); err != nil {
		t.Fatal(err)
	}
	if m := found["small"]; m.swap != time.Millisecond || m.swaps != 1 {
		t.Errorf("small: %+v", m)
	}
	if m := found["large"]; m.swap != 8*time.Millisecond || m.swaps != 2 {
		t.Errorf("large: %+v", m)
	}
	for name, found := range map[string]map[string]*measures{
		"no swap": {"small": {ways: 1}, "large": {ways: 1}},
		"no hit":  {"small": {swap: 1, swaps: 1}, "large": {ways: 1}},
	} {
		if err := guessSwaps(subjects, found); err == nil {
			t.Error(name)
		}
	}
}
