package telemetry

import (
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long a scrape waits for a driver. One that is in trouble can take
// minutes, or for ever.
const patience = 2 * time.Second

// Collector gives a Source to Prometheus, with the names and units that Triton has for what it tells too.
// A driver that does not answer costs a scrape its GPU series and nothing more: it
// is not asked again before it has answered.
type Collector struct {
	source Source
	gpus   []GPU
	log    *slog.Logger
	wait   time.Duration

	mu     sync.Mutex
	asking chan struct{} // closed when the question under way was answered; nil if there is none
	last   []Sample
	err    error
}

// NewCollector returns a Collector, which closes source when it is closed.
func NewCollector(source Source, log *slog.Logger) *Collector {
	return &Collector{source: source, gpus: source.GPUs(), log: log, wait: patience}
}

// Close ends the Source; one that does not answer is left alone.
func (c *Collector) Close() {
	c.mu.Lock()
	asking := c.asking
	c.mu.Unlock()
	if asking != nil && !answered(asking, c.wait) {
		return
	}
	c.source.Close()
}

var gpuLabels = []string{"gpu_uuid"}

// series are the metrics of a GPU.
var series = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Sample) float64
}{
	{prometheus.NewDesc("nv_gpu_utilization", "Part of the time that the GPU computed, 0 to 1.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.Utilization }},
	{prometheus.NewDesc("nv_gpu_memory_total_bytes", "Memory of the GPU.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.MemoryTotal }},
	{prometheus.NewDesc("nv_gpu_memory_used_bytes", "Memory of the GPU in use, by anybody.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.MemoryUsed }},
	{prometheus.NewDesc("nv_gpu_power_usage", "Power that the GPU draws, in watts.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.Power }},
	{prometheus.NewDesc("nv_gpu_power_limit", "Power that the GPU may draw, in watts.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.PowerLimit }},
	{prometheus.NewDesc("nv_energy_consumption", "Energy that the GPU has used since its driver was loaded, in joules.", gpuLabels, nil),
		prometheus.CounterValue, func(s Sample) float64 { return s.Energy }},
	{prometheus.NewDesc("faas_gpu_device_temperature_celsius", "Temperature of the GPU.", gpuLabels, nil),
		prometheus.GaugeValue, func(s Sample) float64 { return s.Temperature }},
}

var infoDesc = prometheus.NewDesc("faas_gpu_device_info",
	"What a GPU is, always 1: its address on the bus, the link's generation and lanes at most, and the driver's version.",
	append([]string{"name", "driver", "pci", "pcie_generation", "pcie_lanes"}, gpuLabels...), nil)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	out <- infoDesc
	for _, s := range series {
		out <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	for _, g := range c.gpus {
		out <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1,
			g.Name, g.Driver, g.PCI, count(g.Generation), count(g.Lanes), g.UUID)
	}
	for _, sample := range c.sample() {
		for _, s := range series {
			if v := s.value(sample); !math.IsNaN(v) {
				out <- prometheus.MustNewConstMetric(s.desc, s.kind, v, sample.UUID)
			}
		}
	}
}

// count is a number as a label, "" where it is not known.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// sample asks the source, and waits no longer than the patience lasts.
func (c *Collector) sample() []Sample {
	c.mu.Lock()
	asking := c.asking
	if asking == nil {
		asking = make(chan struct{})
		c.asking = asking
		go c.ask(asking)
	}
	c.mu.Unlock()
	if !answered(asking, c.wait) {
		c.log.Warn("the GPU driver does not answer", "waited", c.wait)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.log.Warn("GPUs not read", "error", c.err)
	}
	return c.last
}

func (c *Collector) ask(done chan struct{}) {
	samples, err := c.source.Sample()
	c.mu.Lock()
	c.last, c.err, c.asking = samples, err, nil
	c.mu.Unlock()
	close(done)
}

// answered reports whether done was closed in time.
func answered(done <-chan struct{}, in time.Duration) bool {
	timer := time.NewTimer(in)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
