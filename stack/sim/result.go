package sim

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result of a simulation. Ratios are shares of the requests that were sent, all
// of which were served.
type Result struct {
	Requests    int     `json:"requests"`
	MeanMS      float64 `json:"mean_ms"`
	P50MS       float64 `json:"p50_ms"`
	P99MS       float64 `json:"p99_ms"`
	MissRatio   float64 `json:"miss_ratio"`       // the model had to be fetched for it
	FalseMisses float64 `json:"false_miss_ratio"` // and was on another device
	// Computing is the share of the devices' time in which they computed; Busy
	// the share in which they held a request, fetching for it or computing. Both
	// until the last request was answered.
	Computing float64 `json:"computing"`
	Busy      float64 `json:"busy"`
	// Within is the share of the requests that were answered within their SLO,
	// of those that have one.
	Within float64 `json:"within_slo"`
	// Attaining counts the functions that answered 98 % of their requests within
	// their SLO, of those that have one and were asked.
	Attaining int `json:"functions_attaining"`
	Asked     int `json:"functions_with_slo"`

	// Latencies in milliseconds, sorted.
	Latencies []float64 `json:"-"`
}

// collector gathers what happens to requests.
type collector struct {
	latencies         []time.Duration
	misses, elsewhere int
	sent, within      []int // by function
}

func newCollector(w Workload) *collector {
	return &collector{
		latencies: make([]time.Duration, 0, len(w.Requests)),
		sent:      make([]int, w.Functions),
		within:    make([]int, w.Functions),
	}
}

// miss counts a job whose model is not on its device.
func (c *collector) miss(j *job) {
	c.misses++
	for _, d := range j.device.sim.devices {
		if d.slots[j.model.index] != nil {
			c.elsewhere++
			return
		}
	}
}

func (c *collector) done(j *job, now time.Duration) {
	took := now - j.sent
	c.latencies = append(c.latencies, took)
	c.sent[j.model.index]++
	if took <= millis(j.model.SLOms) {
		c.within[j.model.index]++
	}
}

func (c *collector) result(s *simulation) Result {
	slices.Sort(c.latencies)
	out := Result{Requests: len(c.latencies)}
	n := float64(len(c.latencies))
	if n == 0 {
		return out
	}
	sum := 0.0
	for _, l := range c.latencies {
		ms := float64(l) / float64(time.Millisecond)
		out.Latencies = append(out.Latencies, ms)
		sum += ms
	}
	out.MeanMS, out.P50MS, out.P99MS = sum/n, Quantile(out.Latencies, 0.5), Quantile(out.Latencies, 0.99)
	out.MissRatio, out.FalseMisses = float64(c.misses)/n, float64(c.elsewhere)/n
	for _, d := range s.devices {
		out.Computing += d.computed.Seconds()
		out.Busy += d.busy.Seconds()
	}
	all := float64(len(s.devices)) * s.now.Seconds()
	out.Computing, out.Busy = out.Computing/all, out.Busy/all
	c.slos(s, &out)
	return out
}

func (c *collector) slos(s *simulation, out *Result) {
	sent, within := 0, 0
	for i, m := range s.models {
		if m.SLOms == 0 || c.sent[i] == 0 {
			continue
		}
		out.Asked++
		sent += c.sent[i]
		within += c.within[i]
		if float64(c.within[i]) >= target*float64(c.sent[i]) {
			out.Attaining++
		}
	}
	if sent > 0 {
		out.Within = float64(within) / float64(sent)
	}
}

// Quantile of sorted values: the smallest that at least q of them do not exceed; 0
// of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// named finds a model by the name that build gave it, which ends in its index.
func (s *simulation) named(name string) *model {
	i, err := strconv.Atoi(name[strings.LastIndexByte(name, '#')+1:])
	if err != nil {
		s.fail("no model %q", name)
		return s.models[0]
	}
	return s.models[i]
}

// Quantiles are values at evenly spread quantiles, from the least to the greatest,
// of values in any order: enough of them to draw a distribution.
func Quantiles(values []float64) []float64 {
	const points = 200
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return nil
	}
	out := make([]float64, points+1)
	for i := range out {
		out[i] = math.Round(1000*Quantile(sorted, float64(i)/points)) / 1000
	}
	return out
}
