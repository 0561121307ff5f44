package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// gpuSummary makes one object of all results in the folder -plans: each figure with
// what it should reach, and what is missing.
func gpuSummary(_ context.Context, o gpuOptions) (any, error) {
	r, err := readResults(filepath.Join(o.plans, "raw.jsonl"))
	if err != nil {
		return nil, err
	}
	summary := map[string]any{"setup": r.last("setup"), "suite": r.last("suite")}
	var missing []string
	for _, t := range targets {
		values := t.values(r)
		if len(values) == 0 {
			missing = append(missing, t.field)
			continue
		}
		worst := t.worst(values)
		summary[t.field] = map[string]any{
			"value": worst, "of": values, "reach": fmt.Sprintf("%s %g", t.relation, t.reach), "reached": t.reached(worst),
		}
	}
	for _, name := range []string{"resnet50", "vgg16"} {
		if line := r.last("socket", name); line != nil {
			summary["socket_"+name] = line
		}
	}
	summary["mix"], summary["startup"] = r.last("models", "mix"), r.last("startup")
	summary["changeover"], summary["telemetry"] = r.last("changeover"), r.last("telemetry")
	for _, field := range []string{"baseline_load_on_demand", "baseline_process_per_model"} {
		summary[field] = r.last("baselines", "mix")[field]
	}
	for _, part := range []string{"suite", "startup", "changeover", "telemetry", "baselines"} {
		if r.last(part) == nil {
			missing = append(missing, part)
		}
	}
	summary["missing"] = missing
	return summary, nil
}

// result is one line.
type result map[string]any

// number at a path of keys; NaN if there is none.
func (r result) number(path ...string) float64 {
	var at any = map[string]any(r)
	for _, key := range path {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	if x, ok := at.(float64); ok {
		return x
	}
	return math.NaN()
}

// results in the order in which they came about.
type results []result

func readResults(path string) (results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all results
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Printf("%s:%d is left out: %v\n", path, n, err) // of a phase that was cut off
			continue
		}
		all = append(all, r)
	}
	return all, lines.Err()
}

// last is the newest result of a part, of a name if one is given; nil if there is
// none. The library's own results are named "model".
func (rs results) last(part string, name ...string) result {
	var found result
	for _, r := range rs {
		named := len(name) == 0 || r["name"] == name[0] || r["model"] == name[0]
		if r["part"] == part && named {
			found = r
		}
	}
	return found
}

// shim are the newest results of the library alone by network, with two threads that
// load.
func (rs results) shim() map[string]result {
	found := map[string]result{}
	for _, r := range rs {
		if name, ok := r["model"].(string); ok && r["part"] == "shim" {
			if network, loaders, _ := strings.Cut(name, "-loaders"); loaders == "2" {
				found[network] = r
			}
		}
	}
	return found
}

// target is a figure with what it should reach.
type target struct {
	field    string
	relation string // ">=", "<=", or "|<=|" for a magnitude
	reach    float64
	values   func(results) map[string]float64
}

var targets = []target{
	{"h2d_fraction", ">=", 0.95, ofShim("h2d_fraction")},
	{"hit_over_native", "<=", 1.02, func(rs results) map[string]float64 {
		return number("resnet50", rs.shim()["resnet50"], "hit_over_native")
	}},
	{"miss_over_bound", "<=", 1.05, ofShim("miss_over_bound")},
	{"all_miss_over_bound", "<=", 1.05, ofShim("all_miss_over_bound")},
	{"all_miss_over_bound_socket", "<=", 1.15, allMissSocket},
	{"socket_over_echo", "<=", 1.8, func(rs results) map[string]float64 {
		return number("resnet50", rs.last("socket", "resnet50"), "socket_over_echo")
	}},
	{"models", ">=", 1000, ofMix("models")},
	{"mean_model_mb", ">=", 15, ofMix("mean_model_mb")},
	{"residual_mb_per_model", "<=", 1, ofMix("after_swaps", "residual_mb_per_model")},
	{"swaps", ">=", 100000, ofMix("swaps")},
	{"wrong_outputs", "<=", 0, wrongOutputs},
	{"driver_drift_mb", "|<=|", 64, ofMix("driver_drift_mb")},
	{"ledger_error", "|<=|", 0.01, ofMix("after_swaps", "ledger_error")},
}

func (t target) reached(x float64) bool {
	switch t.relation {
	case ">=":
		return x >= t.reach
	case "<=":
		return x <= t.reach
	default:
		return math.Abs(x) <= t.reach
	}
}

// worst of the values by this target.
func (t target) worst(values map[string]float64) float64 {
	worst := math.NaN()
	for _, x := range values {
		worse := t.relation == ">=" && x < worst || t.relation == "<=" && x > worst || math.Abs(x) > math.Abs(worst) && t.relation == "|<=|"
		if math.IsNaN(worst) || worse {
			worst = x
		}
	}
	return worst
}

// number is one value under a name; none where it was not measured.
func number(name string, r result, path ...string) map[string]float64 {
	if x := r.number(path...); !math.IsNaN(x) {
		return map[string]float64{name: x}
	}
	return nil
}

func ofMix(path ...string) func(results) map[string]float64 {
	return func(rs results) map[string]float64 { return number("mix", rs.last("models", "mix"), path...) }
}

func ofShim(field string) func(results) map[string]float64 {
	return func(rs results) map[string]float64 {
		values := map[string]float64{}
		for network, r := range rs.shim() {
			if x := r.number(field); !math.IsNaN(x) {
				values[network] = x
			}
		}
		return values
	}
}

// allMissSocket is what a request takes through the socket when all are misses, with
// as many clients as serve best, over the longer of the copy and the hit.
func allMissSocket(rs results) map[string]float64 {
	values := map[string]float64{}
	for network, native := range rs.shim() {
		runs, _ := rs.last("socket", network)["all_miss"].([]any)
		for _, run := range runs {
			r, _ := run.(map[string]any)
			misses := result(r).number("miss_fraction")
			// A few may have been hits; they needed no copy.
			bound := max(native.number("ceiling_ms")*misses, native.number("hit_ms"))
			if x := to4(result(r).number("ms_per_request") / bound); misses > 0.9 && (values[network] == 0 || x < values[network]) {
				values[network] = x
			}
		}
	}
	return values
}

// wrongOutputs counts them, wherever they stand in the results.
func wrongOutputs(rs results) map[string]float64 {
	var values map[string]float64 // none where nothing was compared
	for _, r := range rs {
		countWrong(map[string]any(r), func(n float64) {
			if values == nil {
				values = map[string]float64{}
			}
			values["all"] += n
		})
	}
	return values
}

func countWrong(x any, add func(float64)) {
	switch x := x.(type) {
	case map[string]any:
		for key, inner := range x {
			if n, ok := inner.(float64); ok && key == "wrong_outputs" {
				add(n)
			}
			countWrong(inner, add)
		}
	case []any:
		for _, inner := range x {
			countWrong(inner, add)
		}
	}
}
