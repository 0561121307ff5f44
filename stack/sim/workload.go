package sim

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request of a workload.
type Request struct {
	At       time.Duration // since the start
	Function int
}

// Workload is who asks when. Function i has a model of its own, with the figures
// of model i of the profile (modulo their number).
type Workload struct {
	Functions int
	Requests  []Request // in order
}

// Shape is how the load changes over time.
type Shape string

// The shapes.
const (
	Flat        Shape = "flat"        // the same rate all the time
	Steady      Shape = "steady"      // rises by 7.7 % (from 650 to 700 in INFaaS)
	Fluctuating Shape = "fluctuating" // 5 to 100 % of the rate and back, three times (4 to 80 a second there)
	Minutely    Shape = "minutely"    // each function's rate changes every minute
)

// Shapes are all of them.
func Shapes() []Shape { return []Shape{Flat, Steady, Fluctuating, Minutely} }

// Gaps between requests.
type Gaps string

const (
	// Exponential gaps make a Poisson process, as many independent users do.
	Exponential Gaps = "exponential"
	// PoissonMillis are gaps of a Poisson-distributed number of milliseconds, far
	// more even than any trace: only to compare with figures measured so.
	PoissonMillis Gaps = "poisson"
)

// Generator makes workloads up.
//
// With skew s function number k is asked for in proportion to 1/k^s. Azure's
// functions are like that: few get nearly all requests. With the shape Minutely
// each function's rate is drawn anew every minute, log-normal around its mean
// (sigma 0.5), as the minute counts of that trace scatter.
type Generator struct {
	Functions int
	PerMinute float64 // requests, of all functions together
	Length    time.Duration
	Skew      float64
	Shape     Shape
	Gaps      Gaps
	Seed      uint64
}

// Generate makes a workload up. The same Generator makes the same one.
func (g Generator) Generate() (Workload, error) {
	if g.Functions < 1 || !(g.PerMinute > 0) || g.Length <= 0 || !(g.Skew >= 0) || !slices.Contains(Shapes(), g.Shape) {
		return Workload{}, fmt.Errorf("workload: want functions, rate and length above 0, skew of at least 0 and a shape of %v; have %+v", Shapes(), g)
	}
	if expected := g.PerMinute * g.Length.Minutes(); expected > 2e7 {
		return Workload{}, fmt.Errorf("workload: %.0f requests: want at most 20 million", expected)
	}
	rng := rand.New(rand.NewPCG(g.Seed, 0x51))
	w := Workload{Functions: g.Functions}
	popularity := make([]float64, g.Functions)
	for i := range popularity {
		popularity[i] = math.Pow(float64(i+1), -g.Skew)
	}
	pick := newPicker(popularity)
	minute := -1
	for at := time.Duration(0); ; {
		gap, err := g.gap(rng)
		if err != nil {
			return Workload{}, err
		}
		at += gap
		if at >= g.Length {
			return w, nil
		}
		if rng.Float64() >= g.level(at) {
			continue
		}
		if m := int(at / time.Minute); g.Shape == Minutely && m != minute {
			minute, pick = m, newPicker(scatter(rng, popularity))
		}
		w.Requests = append(w.Requests, Request{At: at, Function: pick.pick(rng)})
	}
}

// gap to the next request while the load is at its peak.
func (g Generator) gap(rng *rand.Rand) (time.Duration, error) {
	mean := 60000 / g.PerMinute // ms
	switch g.Gaps {
	case Exponential:
		return millis(rng.ExpFloat64() * mean), nil
	case PoissonMillis:
		return millis(float64(poisson(rng, mean))), nil
	}
	return 0, fmt.Errorf("workload: gaps %q: want %q or %q", g.Gaps, Exponential, PoissonMillis)
}

// level of the load, 1 at its peak.
func (g Generator) level(at time.Duration) float64 {
	x := float64(at) / float64(g.Length)
	switch g.Shape {
	case Steady:
		return (650 + 50*x) / 700
	case Fluctuating:
		return (4 + 76*(1-math.Cos(6*math.Pi*x))/2) / 80
	}
	return 1
}

// poisson draws a Poisson-distributed number: how many unit exponentials fit in
// mean.
func poisson(rng *rand.Rand, mean float64) int {
	n := 0
	for left := mean - rng.ExpFloat64(); left >= 0; left -= rng.ExpFloat64() {
		n++
	}
	return max(1, n)
}

func scatter(rng *rand.Rand, means []float64) []float64 {
	const sigma = 0.5
	out := make([]float64, len(means))
	for i, m := range means {
		out[i] = m * math.Exp(sigma*rng.NormFloat64()-sigma*sigma/2)
	}
	return out
}

// picker draws indices in proportion to weights.
type picker []float64 // their running sum

func newPicker(weights []float64) picker {
	p, sum := make(picker, len(weights)), 0.0
	for i, w := range weights {
		sum += w
		p[i] = sum
	}
	return p
}

func (p picker) pick(rng *rand.Rand) int {
	i, _ := slices.BinarySearch(p, rng.Float64()*p[len(p)-1])
	return min(i, len(p)-1)
}

// ReadTrace reads a workload from lines "function,milliseconds", in any order.
// Empty lines and lines that begin with # are skipped. Functions get models in
// the order in which they are first asked for.
func ReadTrace(r io.Reader) (Workload, error) {
	var w Workload
	type sent struct {
		at   time.Duration
		name string
	}
	var all []sent
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		name, ms, _ := strings.Cut(text, ",")
		at, err := strconv.ParseFloat(strings.TrimSpace(ms), 64)
		if err != nil || !(at >= 0 && at < 1e10) || strings.TrimSpace(name) == "" {
			return Workload{}, fmt.Errorf("trace, line %d: %.80q: want function,milliseconds", n, text)
		}
		all = append(all, sent{millis(at), strings.TrimSpace(name)})
	}
	if err := lines.Err(); err != nil {
		return Workload{}, fmt.Errorf("trace: %w", err)
	}
	slices.SortStableFunc(all, func(a, b sent) int { return cmp.Compare(a.at, b.at) })
	functions := map[string]int{}
	for _, s := range all {
		if _, ok := functions[s.name]; !ok {
			functions[s.name] = len(functions)
		}
		w.Requests = append(w.Requests, Request{At: s.at, Function: functions[s.name]})
	}
	w.Functions = len(functions)
	if len(all) == 0 {
		return Workload{}, fmt.Errorf("trace: no requests: want lines of function,milliseconds")
	}
	return w, nil
}
