package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestSchedBench(t *testing.T) {
	got, err := schedBench(context.Background(), []string{"-devices", "8", "-models", "200", "-queued", "200", "-resident", "20", "-decisions", "4000"})
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"lb", "lalb", "lalbo3", "swap"} {
		r := got.(map[string]any)[policy].(map[string]any)
		if r["decision_p50_ns"].(int64) <= 0 || r["decision_p99_ns"].(int64) < r["decision_p50_ns"].(int64) || r["allocs"].(int) != 0 {
			t.Errorf("%s: %v", policy, r)
		}
	}
}

func TestEvictBench(t *testing.T) {
	got, err := evict(context.Background(), []string{"-models", "500", "-references", "60000"})
	if err != nil {
		t.Fatal(err)
	}
	if best := got.(map[string]any)["best_of_known"].(float64); best < 0.97 || best > 1.01 {
		t.Errorf("the best order finds %v of what the known popularities find, want 0.97 or more", best)
	}
	for _, kind := range []string{"independent", "drifting", "scanned"} {
		r := got.(map[string]any)[kind].(map[string]any)
		for _, order := range []string{"lru", "twolists", "gdsf", "belady"} {
			if ratio := r[order].(float64); ratio <= 0 || ratio > r["bound"].(float64) {
				t.Errorf("%s: %s finds %v, with a bound of %v", kind, order, ratio, r["bound"])
			}
		}
	}
}

func TestSimBench(t *testing.T) {
	got, err := simBench(context.Background(), []string{"-workingset", "25", "-seeds", "9", "-equal", "0.7", "-sustain"})
	if err != nil {
		t.Fatal(err)
	}
	set := got.(map[string]any)["functions_25"].(map[string]any)
	policies := set["policies"].(map[string]average)
	if policies["lalb"].MeanChange > -50 || policies["swap"].MeanMS > policies["lalb"].MeanMS {
		t.Errorf("lalb %+v, swap %+v", policies["lalb"], policies["swap"])
	}
	equal := set["equal_lb_busy"].(map[string]any)["0.70"].(map[string]any)["policies"].(map[string]average)
	if busy := equal["lb"].Busy; busy < 0.65 || busy > 0.75 {
		t.Errorf("lb is busy %v, want 0.7", busy)
	}
	if s := set["sustained"].(map[string]any); s["lalbo3"].(float64) <= s["lb"].(float64) {
		t.Errorf("sustained: %v", s)
	}
}

func TestSimBenchTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(file, []byte("a,0\nb,10\na,20000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := simBench(context.Background(), []string{"-trace", file, "-profile", "torpor"})
	if err != nil {
		t.Fatal(err)
	}
	// The first two models are fetched, then computed; copy and compute overlap.
	a := got.(map[string]any)["functions_2"].(map[string]any)["policies"].(map[string]average)["lalb"]
	if a.MeanMS != 26 || a.MissRatio != 0.6667 {
		t.Errorf("got %+v, want a mean of 26 ms of 25, 28 and 25", a)
	}
}

func TestSimBenchRefusals(t *testing.T) {
	for _, args := range [][]string{
		{"-profile", "none"}, {"-workingset", "x"}, {"-workingset", ""}, {"-policies", "best"}, {"-policies", "swap:0"},
		{"-eviction", "none"}, {"-seeds", "-1"}, {"-equal", "2"}, {"-trace", "none"}, {"-shape", "round"}, {"-gaps", "none"},
	} {
		if _, err := simBench(context.Background(), args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
