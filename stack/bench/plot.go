package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/faas-gpu/faas-gpu/stack/bench/figures"
)

// plots draws the figures of docs/evaluation from the data there.
func plots(_ context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("plot", flag.ContinueOnError)
	data := flags.String("data", "docs/evaluation/data", "folder of the data")
	out := flags.String("out", "docs/evaluation", "folder to write the figures to")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var written []string
	for _, p := range []struct {
		file, data string
		figure     func(path string) (figures.Figure, error)
	}{
		{"working-set.svg", "sim-lalb.json", workingSetFigure},
		{"cdf-sim.svg", "sim-lalb-cdf.json", simCDFFigure},
		{"attainment.svg", "sim-torpor-exponential-torpor.json", attainmentFigure},
		{"cdf-replay.svg", "replay-cpu-cdf.json", replayCDFFigure},
		{"cdf-replay-one-gpu.svg", "replay-one-gpu-cdf.json", replayCDFFigure},
		{"cdf-replay-all-gpus.svg", "replay-all-gpus-cdf.json", replayCDFFigure},
	} {
		f, err := p.figure(filepath.Join(*data, p.data))
		if os.IsNotExist(err) {
			fmt.Printf("%s: not drawn, there is no %s\n", p.file, p.data)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := f.Write(filepath.Join(*out, p.file)); err != nil {
			return nil, err
		}
		written = append(written, p.file)
	}
	return map[string]any{"benchmark": "plot", "written": written}, nil
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// simPoint is one policy with so many functions.
type simPoint struct {
	functions int
	average
}

// simSeries are the results of `bench sim` by policy, in the order of the number of
// functions.
func simSeries(file string) (map[string][]simPoint, error) {
	var figures map[string]json.RawMessage
	if err := readJSON(file, &figures); err != nil {
		return nil, err
	}
	series := map[string][]simPoint{}
	for key, raw := range figures {
		number, ok := strings.CutPrefix(key, "functions_")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, key, err)
		}
		var set struct {
			Policies map[string]average `json:"policies"`
		}
		if err := json.Unmarshal(raw, &set); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for p, a := range set.Policies {
			series[p] = append(series[p], simPoint{n, a})
		}
	}
	for _, points := range series {
		slices.SortFunc(points, func(a, b simPoint) int { return a.functions - b.functions })
	}
	return series, nil
}

// lines of some policies, in this order; policies without data are left out.
func lines(series map[string][]simPoint, y func(simPoint) float64, policies ...string) []figures.Line {
	var out []figures.Line
	for _, p := range policies {
		if len(series[p]) == 0 {
			continue
		}
		l := figures.Line{Name: p, Marked: true}
		for _, at := range series[p] {
			l.Points = append(l.Points, [2]float64{float64(at.functions), y(at)})
		}
		out = append(out, l)
	}
	return out
}

func workingSetFigure(file string) (figures.Figure, error) {
	series, err := simSeries(file)
	mean := lines(series, func(p simPoint) float64 { return p.MeanMS / 1000 }, "lb", "lalb", "lalbo3", "swap")
	tail := lines(series, func(p simPoint) float64 { return p.P99MS / 1000 }, "lb", "lalb", "lalbo3", "swap")
	for i := range tail {
		tail[i].Name, tail[i].Dashed, tail[i].Like = "", true, i+1
	}
	return figures.Figure{
		Title: "Simulated: twelve GPUs of 8 GB, 325 requests a minute", X: "functions", Y: "latency, s (mean; dashed: p99)",
		LogY: true, Bottom: 0.2, Top: 400, LegendLeft: true, LegendLow: true, Lines: append(mean, tail...),
	}, err
}

func attainmentFigure(file string) (figures.Figure, error) {
	series, err := simSeries(file)
	all := lines(series, func(p simPoint) float64 { return p.Attaining / max(1, p.Asked) },
		"lalbo3", "swap", "torpor-fifo", "torpor-rrc", "torpor-slo")
	all = append(all, figures.Line{Name: "reported for Torpor", Alone: true, Points: [][2]float64{{160, 1}, {480, 1}, {560, 0.8}}})
	return figures.Figure{
		Title: "Simulated: four V100, 9.8 requests a minute of each function", X: "functions",
		Y: "share of functions within their SLO", Top: 1.05, LegendLeft: true, LegendLow: true, Lines: all,
	}, err
}

func simCDFFigure(file string) (figures.Figure, error) {
	var latencies map[string]map[string][]float64
	err := readJSON(file, &latencies)
	most := ""
	for functions := range latencies {
		if len(functions) > len(most) || len(functions) == len(most) && functions > most {
			most = functions
		}
	}
	return figures.Figure{
		Title: fmt.Sprintf("Simulated: twelve GPUs of 8 GB, %s functions", most), X: "latency, s", Y: "share of the requests",
		LogX: true, Top: 1, LegendLeft: true, Lines: distribution(latencies[most], 1000, false),
	}, err
}

func replayCDFFigure(file string) (figures.Figure, error) {
	var latencies map[string]map[string][]float64
	err := readJSON(file, &latencies)
	measured := distribution(latencies["measured"], 1, false)
	simulated := distribution(latencies["simulated"], 1, true)
	for i := range simulated {
		simulated[i].Name, simulated[i].Like = "", i+1
	}
	return figures.Figure{
		Title: "Replayed on real nodes", X: "latency, ms (dashed: simulated)", Y: "share of the requests",
		LogX: true, Top: 1, LegendLow: true, Lines: append(measured, simulated...),
	}, err
}

// distribution is a line for each policy of values at evenly spread quantiles.
func distribution(latencies map[string][]float64, unit float64, dashed bool) []figures.Line {
	var out []figures.Line
	for _, p := range []string{"lb", "lalb", "lalbo3", "swap"} {
		values := latencies[p]
		if len(values) < 2 {
			continue
		}
		l := figures.Line{Name: p, Dashed: dashed}
		for i, v := range values {
			if v > 0 {
				l.Points = append(l.Points, [2]float64{v / unit, float64(i) / float64(len(values)-1)})
			}
		}
		out = append(out, l)
	}
	return out
}
