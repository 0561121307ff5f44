package variant

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func TestChoose(t *testing.T) {
	half := option{precision: "fp16", batch: 4, state: ready, rows: 4, key: "half"}
	large := option{precision: "fp16", batch: 16, state: ready, rows: 16, key: "large"}
	full := option{precision: "fp32", batch: 4, state: ready, rows: 4, key: "full"}
	fixed := option{precision: "fp16", batch: 1, state: ready, key: "fixed"}
	builds := option{precision: "fp16", batch: 4, state: coming}
	again := option{precision: "fp16", batch: 4, state: failed}
	never := option{precision: "fp16", batch: 4, state: unbuilt}
	both, gpu, cpu := node{cpu: true, gpu: true}, node{gpu: true}, node{cpu: true}
	options := func(o ...option) []option { return o }

	for name, c := range map[string]struct {
		fallback   string
		precisions []string
		rows       int
		options    []option
		node       node
		want       decision
	}{
		"ready":                             {"", nil, 1, options(half), both, decision{onGPU, 0}},
		"ready, whatever the fallback":      {"refuse", nil, 1, options(half), gpu, decision{onGPU, 0}},
		"the preferred precision":           {"", nil, 1, options(full, half), both, decision{onGPU, 1}},
		"another preferred precision":       {"", []string{"fp32", "fp16"}, 1, options(half, full), both, decision{onGPU, 1}},
		"a precision not allowed":           {"", []string{"fp32"}, 1, options(half), both, decision{onCPU, 0}},
		"the less preferred, while it is":   {"", nil, 1, options(builds, full), both, decision{onGPU, 1}},
		"the smallest batch":                {"", nil, 2, options(large, half), both, decision{onGPU, 1}},
		"the batch that fits":               {"", nil, 9, options(half, large), both, decision{onGPU, 1}},
		"fixed shapes":                      {"refuse", nil, 32, options(fixed), both, decision{onGPU, 0}},
		"a batch too large, cpu":            {"cpu", nil, 5, options(half), both, decision{onCPU, 0}},
		"a batch too large, wait":           {"wait", nil, 5, options(half), both, decision{action: refuse}},
		"a batch too large, refuse":         {"refuse", nil, 5, options(half), both, decision{action: refuse}},
		"building, cpu":                     {"cpu", nil, 1, options(builds), both, decision{onCPU, 0}},
		"building, wait":                    {"wait", nil, 1, options(builds), both, decision{action: await}},
		"building, refuse":                  {"refuse", nil, 1, options(builds), both, decision{action: refuse}},
		"building, cpu without one":         {"cpu", nil, 1, options(builds), gpu, decision{action: await}},
		"building for less":                 {"wait", nil, 9, options(builds), both, decision{action: refuse}},
		"failed for now, wait":              {"wait", nil, 1, options(again), both, decision{action: await}},
		"failed for good, wait":             {"wait", nil, 1, options(never), both, decision{action: refuse}},
		"failed for good, cpu":              {"cpu", nil, 1, options(never), both, decision{onCPU, 0}},
		"no plans are built here, wait":     {"wait", nil, 1, nil, both, decision{action: refuse}},
		"no GPU, wait":                      {"wait", nil, 1, nil, cpu, decision{action: await}},
		"no GPU, cpu":                       {"", nil, 1, nil, cpu, decision{onCPU, 0}},
		"no GPU, refuse":                    {"refuse", nil, 1, nil, cpu, decision{action: refuse}},
		"GPU lost, cpu":                     {"", nil, 1, options(half), cpu, decision{onCPU, 0}},
		"GPU lost, wait":                    {"wait", nil, 1, options(half), cpu, decision{action: await}},
		"GPU lost, refuse":                  {"refuse", nil, 1, options(half), cpu, decision{action: refuse}},
		"GPU lost, cpu without one: waits":  {"cpu", nil, 1, options(half), node{}, decision{action: await}},
		"a plan that is being made anew":    {"wait", nil, 1, options(option{precision: "fp16", batch: 1, state: discards}), both, decision{action: await}},
		"none of the precisions that exist": {"refuse", []string{"fp32"}, 1, options(half, builds), both, decision{action: refuse}},
	} {
		terms := normal(cachemgr.Terms{Precisions: c.precisions, Fallback: c.fallback}, c.node.cpu)
		if got := choose(ask{terms, c.rows}, c.options, c.node); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestWanted(t *testing.T) {
	at := func(precision string, batch int, s state) option {
		return option{precision: precision, batch: batch, state: s}
	}
	half, full := at("fp16", 1, coming), at("fp32", 1, coming)
	defaults := normal(cachemgr.Terms{}, true)
	only := func(p string, batch int) cachemgr.Terms {
		return normal(cachemgr.Terms{Precisions: []string{p}, MaxBatch: batch}, true)
	}
	for name, c := range map[string]struct {
		terms   []cachemgr.Terms
		options []option
		want    []option
	}{
		"nothing there":           {[]cachemgr.Terms{defaults}, nil, []option{half}},
		"on its way":              {[]cachemgr.Terms{defaults}, []option{half}, nil},
		"failed for now":          {[]cachemgr.Terms{defaults}, []option{at("fp16", 1, failed)}, nil},
		"cannot be built":         {[]cachemgr.Terms{defaults}, []option{at("fp16", 1, unbuilt)}, []option{full}},
		"neither can be built":    {[]cachemgr.Terms{defaults}, []option{at("fp16", 1, unbuilt), at("fp32", 1, unbuilt)}, nil},
		"another batch":           {[]cachemgr.Terms{only("fp16", 8)}, []option{half}, []option{at("fp16", 8, coming)}},
		"two functions, one plan": {[]cachemgr.Terms{defaults, only("fp16", 1)}, nil, []option{half}},
		"two functions, two":      {[]cachemgr.Terms{defaults, only("fp32", 1)}, nil, []option{half, full}},
	} {
		if got := wanted(c.terms, c.options); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range []int{3, 6, 12, 20, 20, 20} {
		if got := backoff(failures, 3, 20); got != time.Duration(want) {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
}

func TestNormalTerms(t *testing.T) {
	for _, c := range []struct {
		fallback string
		cpu      bool
		want     string
	}{
		{"", true, api.FallbackCPU}, {"cpu", true, api.FallbackCPU}, {"wait", true, api.FallbackWait}, {"refuse", true, api.FallbackRefuse},
		{"", false, api.FallbackWait}, {"cpu", false, api.FallbackWait}, {"refuse", false, api.FallbackRefuse},
	} {
		got := normal(cachemgr.Terms{Fallback: c.fallback}, c.cpu)
		if got.Fallback != c.want || got.MaxBatch != 1 || fmt.Sprint(got.Precisions) != "[fp16 fp32]" {
			t.Errorf("%+v became %+v", c, got)
		}
	}
}
