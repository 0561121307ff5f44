package telemetry

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Host gives a machine's processors and memory to Prometheus, with the names that
// Triton has.
type Host struct {
	root string

	mu   sync.Mutex
	last ticks // of the scrape before
}

// NewHost reads the kernel's files below root ("/").
func NewHost(root string) *Host {
	h := &Host{root: root}
	h.last, _ = readTicks(root) // where it cannot be read there is no series
	return h
}

var (
	cpuDesc         = prometheus.NewDesc("nv_cpu_utilization", "Part of the time that the processors computed, 0 to 1, since the scrape before.", nil, nil)
	memoryTotalDesc = prometheus.NewDesc("nv_cpu_memory_total_bytes", "Memory of the machine.", nil, nil)
	memoryUsedDesc  = prometheus.NewDesc("nv_cpu_memory_used_bytes", "Memory of the machine in use, without what could be freed at once.", nil, nil)
)

// Describe implements prometheus.Collector.
func (h *Host) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{cpuDesc, memoryTotalDesc, memoryUsedDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *Host) Collect(out chan<- prometheus.Metric) {
	if busy, ok := h.utilization(); ok {
		out <- prometheus.MustNewConstMetric(cpuDesc, prometheus.GaugeValue, busy)
	}
	if total, used, ok := memory(h.root); ok {
		out <- prometheus.MustNewConstMetric(memoryTotalDesc, prometheus.GaugeValue, total)
		out <- prometheus.MustNewConstMetric(memoryUsedDesc, prometheus.GaugeValue, used)
	}
}

// ticks is time of all processors together, since the machine was started, in units
// of the kernel.
type ticks struct{ idle, all float64 }

// utilization is that since it was asked for last; false if no time has passed.
func (h *Host) utilization() (busy float64, ok bool) {
	now, ok := readTicks(h.root)
	if !ok {
		return 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	passed := ticks{idle: now.idle - h.last.idle, all: now.all - h.last.all}
	if passed.all <= 0 {
		return 0, false
	}
	h.last = now
	return min(max(1-passed.idle/passed.all, 0), 1), true
}

// readTicks reads "cpu user nice system idle iowait irq softirq steal …". What
// guests use is in user time already.
func readTicks(root string) (t ticks, ok bool) {
	const idle, iowait, steal = 3, 4, 7
	line, _, _ := strings.Cut(text(filepath.Join(root, "proc/stat")), "\n")
	fields := strings.Fields(line)
	if len(fields) <= steal+1 || fields[0] != "cpu" {
		return ticks{}, false
	}
	for i, field := range fields[1 : steal+2] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return ticks{}, false
		}
		t.all += n
		if i == idle || i == iowait {
			t.idle += n
		}
	}
	return t, true
}

// memory is what the machine of these files has, and what of it cannot be had,
// in bytes.
func memory(root string) (total, used float64, ok bool) {
	f, err := os.Open(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	found := map[string]float64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var name string
		var kB float64
		if _, err := fmt.Sscanf(lines.Text(), "%s %f kB", &name, &kB); err == nil {
			found[name] = kB * 1024
		}
	}
	total, okTotal := found["MemTotal:"]
	free, okFree := found["MemAvailable:"]
	return total, total - free, okTotal && okFree
}
