package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// result is the last line of the demo.
type result struct {
	Functions      int     `json:"functions"`
	DigitsAccuracy float64 `json:"digits_accuracy"`
	Requests       int     `json:"requests"`
	WrongOutputs   int     `json:"wrong_outputs"`
	Hits           int64   `json:"hits"`
	Misses         int64   `json:"misses"` // swaps and loads
	Evictions      int64   `json:"evictions"`
	HitP50         float64 `json:"hit_p50_ms"`
	SwapP50        float64 `json:"swap_p50_ms"`
	LoadP50        float64 `json:"load_p50_ms"`
	ColdStart      float64 `json:"cold_start_ms"` // the median over the functions
	Error          string  `json:"error,omitempty"`
}

// minAccuracy is what the digits model reaches on scans it has not seen.
const minAccuracy = 0.97

// check says what keeps a result from being a success.
func (r result) check() error {
	var errs []error
	if r.DigitsAccuracy < minAccuracy {
		errs = append(errs, fmt.Errorf("accuracy %.4f of digits is below %g", r.DigitsAccuracy, minAccuracy))
	}
	if r.WrongOutputs > 0 {
		errs = append(errs, fmt.Errorf("%d answers differ from those of a plain session", r.WrongOutputs))
	}
	if r.Evictions == 0 {
		errs = append(errs, errors.New("no model was evicted, so the cache was not under pressure"))
	}
	return errors.Join(errs...)
}

// row is a function in the table.
type row struct {
	function  *function
	bytes     int64 // on the device
	stats     api.CacheStats
	coldStart time.Duration
}

// printTable prints a line for each function. The p50 are what a client saw.
func printTable(out io.Writer, rows []row, t *tally) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "function\tmodel MiB\tcold start ms\tload p50 ms\tswap p50 ms\thit p50 ms\thits\tmisses\tevictions\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.2f\t%.1f\t%s\t%s\t%s\t%d\t%d\t%d\t\n",
			r.function.name, float64(r.bytes)/(1<<20), milliseconds(r.coldStart),
			cell(t.of(r.function, api.CacheLoad)), cell(t.of(r.function, api.CacheSwap)), cell(t.of(r.function, api.CacheHit)),
			r.stats.Hits, r.stats.Swaps+r.stats.Loads, r.stats.Evictions)
	}
	return w.Flush()
}

func cell(latencies []float64) string {
	if len(latencies) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(latencies))
}

// summarize puts the figures of a run together.
func summarize(rows []row, t *tally, accuracy float64) result {
	res := result{
		Functions:      len(rows),
		DigitsAccuracy: accuracy,
		Requests:       t.requests,
		WrongOutputs:   t.wrong,
		HitP50:         median(t.of(nil, api.CacheHit)),
		SwapP50:        median(t.of(nil, api.CacheSwap)),
		LoadP50:        median(t.of(nil, api.CacheLoad)),
	}
	var cold []float64
	for _, r := range rows {
		res.Hits += r.stats.Hits
		res.Misses += r.stats.Swaps + r.stats.Loads
		res.Evictions += r.stats.Evictions
		cold = append(cold, milliseconds(r.coldStart))
	}
	res.ColdStart = median(cold)
	return res
}

// median is 0 of nothing. It is rounded to microseconds of milliseconds.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	m := sorted[mid]
	if len(sorted)%2 == 0 {
		m = (m + sorted[mid-1]) / 2
	}
	return math.Round(m*1000) / 1000
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
