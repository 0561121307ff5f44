package telemetry

import (
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/faas-gpu/faas-gpu/internal/metricsdoc"
)

// still is a Source that answers once it is let.
type still struct {
	let    chan struct{}
	asked  atomic.Int32
	closed atomic.Bool
}

func (s *still) GPUs() []GPU { return nil }
func (s *still) Close()      { s.closed.Store(true) }
func (s *still) Sample() ([]Sample, error) {
	s.asked.Add(1)
	<-s.let
	return []Sample{{UUID: "GPU-a", Energy: math.NaN()}}, nil
}

func TestDriverThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &still{let: make(chan struct{})}
		c := NewCollector(s, slog.New(slog.DiscardHandler))
		for range 3 {
			began := time.Now()
			if n := testutil.CollectAndCount(c); n != 0 || time.Since(began) != patience {
				t.Errorf("%d series after %v", n, time.Since(began))
			}
		}
		c.Close()
		if n := s.asked.Load(); n != 1 || s.closed.Load() {
			t.Errorf("asked %d times, closed: %v", n, s.closed.Load())
		}
		close(s.let)
		synctest.Wait()
		if n := testutil.CollectAndCount(c); n != 6 {
			t.Errorf("%d series, want all but the energy", n)
		}
		c.Close()
		if !s.closed.Load() {
			t.Error("not closed")
		}
	})
}

func TestSeries(t *testing.T) {
	n, err := openNVML(driver(gpu("GPU-a", false)), []string{"GPU-a"})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(n, slog.New(slog.DiscardHandler))
	defer c.Close()
	want := `# HELP faas_gpu_device_info What a GPU is, always 1: its address on the bus, the link's generation and lanes at most, and the driver's version.
# TYPE faas_gpu_device_info gauge
faas_gpu_device_info{driver="580.159.04",gpu_uuid="GPU-a",name="NVIDIA H200",pci="0000:0f:00.0",pcie_generation="5",pcie_lanes="16"} 1
# HELP nv_gpu_utilization Part of the time that the GPU computed, 0 to 1.
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-a"} 0.25
# HELP nv_gpu_power_usage Power that the GPU draws, in watts.
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{gpu_uuid="GPU-a"} 123.4
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "faas_gpu_device_info", "nv_gpu_utilization", "nv_gpu_power_usage"); err != nil {
		t.Error(err)
	}
}

// TestDocumented: docs/metrics.md has all series of a GPU.
func TestDocumented(t *testing.T) {
	all := gpu("GPU-a", false)
	all.GetTotalEnergyConsumptionFunc = func() (uint64, nvml.Return) { return 1000, nvml.SUCCESS }
	n, err := openNVML(driver(all), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(n, slog.New(slog.DiscardHandler))
	defer c.Close()
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := make(map[string]*dto.MetricFamily)
	for _, f := range gathered {
		families[f.GetName()] = f
	}
	if err := metricsdoc.Check("../../docs/metrics.md", "gpu", families); err != nil {
		t.Error(err)
	}
}
