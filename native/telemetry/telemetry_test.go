package telemetry

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree writes files below a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const meminfo = "MemTotal:        4058836 kB\nMemFree:          123456 kB\nMemAvailable:    2058836 kB\n"

func TestJetson(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		gpu   GPU
		want  Sample
	}{
		"Nano, L4T 32": {
			files: map[string]string{
				"sys/class/devfreq/57000000.gpu/device/of_node/name":     "gpu\x00",
				"sys/class/devfreq/57000000.gpu/device/load":             "437\n",
				"sys/bus/i2c/devices/6-0040/iio:device0/rail_name_0":     "POM_5V_IN\n",
				"sys/bus/i2c/devices/6-0040/iio:device0/in_power0_input": "4512\n",
				"sys/bus/i2c/devices/6-0040/iio:device0/rail_name_1":     "POM_5V_GPU\n",
				"sys/bus/i2c/devices/6-0040/iio:device0/in_power1_input": "1250\n",
				"proc/device-tree/model":                                 "NVIDIA Jetson Nano Developer Kit\x00",
				"proc/meminfo":                                           meminfo,
				"etc/nv_tegra_release":                                   "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
				"sys/class/devfreq/54340000.vic/device/of_node/name":     "vic\x00",
				"sys/class/devfreq/54340000.vic/device/load":             "999\n",
			},
			gpu:  GPU{UUID: "GPU-1", Name: "NVIDIA Jetson Nano Developer Kit", Driver: "L4T R32.7.1"},
			want: Sample{Utilization: 0.437, MemoryTotal: 4058836 * 1024, MemoryUsed: 2000000 * 1024, Power: 1.25},
		},
		"Orin, L4T 36": {
			files: map[string]string{
				"sys/class/devfreq/17000000.gpu/device/of_node/name":  "gpu\x00",
				"sys/class/devfreq/17000000.gpu/device/load":          "1000\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/in1_label":   "VDD_GPU_SOC\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/in1_input":   "19000\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/curr1_input": "500\n",
				"proc/meminfo": meminfo,
			},
			gpu:  GPU{UUID: "GPU-1"},
			want: Sample{Utilization: 1, MemoryTotal: 4058836 * 1024, MemoryUsed: 2000000 * 1024, Power: 9.5},
		},
		"without a power monitor": {
			files: map[string]string{
				"sys/class/devfreq/17000000.gv11b/device/of_node/name": "gv11b",
				"sys/class/devfreq/17000000.gv11b/device/load":         "0\n",
				"proc/meminfo": "nothing\n",
			},
			gpu:  GPU{UUID: "GPU-1"},
			want: Sample{MemoryTotal: math.NaN(), MemoryUsed: math.NaN(), Power: math.NaN()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := OpenJetson(tree(t, c.files), "GPU-1")
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if gpus, err := j.GPUs(); err != nil || len(gpus) != 1 || gpus[0] != c.gpu {
				t.Errorf("GPUs are %+v, %v; want %+v", gpus, err, c.gpu)
			}
			got, err := j.Sample()
			if err != nil || len(got) != 1 {
				t.Fatalf("%v, %v", got, err)
			}
			c.want.UUID, c.want.PowerLimit, c.want.Energy = "GPU-1", math.NaN(), math.NaN()
			same(t, got[0], c.want)
		})
	}
}

func same(t *testing.T, got, want Sample) {
	t.Helper()
	if got.UUID != want.UUID {
		t.Errorf("UUID is %q, want %q", got.UUID, want.UUID)
	}
	for _, s := range series {
		g, w := s.value(got), s.value(want)
		if !(math.IsNaN(g) && math.IsNaN(w)) && math.Abs(g-w) > 1e-9*math.Abs(w) {
			t.Errorf("%v is %v, want %v", s.desc, g, w)
		}
	}
}

func TestNoBoard(t *testing.T) {
	for name, root := range map[string]string{
		"empty": t.TempDir(),
		"a PC":  tree(t, map[string]string{"sys/class/devfreq/0000:00:02.0/device/of_node/name": "vpu"}),
	} {
		if _, err := OpenJetson(root, ""); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadThatIsNoNumber(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/class/devfreq/gpu/device/of_node/name": "gpu",
		"sys/class/devfreq/gpu/device/load":         "N/A",
	})
	j, err := OpenJetson(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := j.Sample(); err == nil {
		t.Errorf("sampled %v", s)
	}
}

// gpu is what a driver says of one GPU; broken ones fail in every call.
func gpu(uuid string, broken bool) *mock.Device {
	r := nvml.SUCCESS
	if broken {
		r = nvml.ERROR_GPU_IS_LOST
	}
	return &mock.Device{
		GetUUIDFunc:                  func() (string, nvml.Return) { return uuid, nvml.SUCCESS },
		GetNameFunc:                  func() (string, nvml.Return) { return "NVIDIA H200", r },
		GetMaxPcieLinkGenerationFunc: func() (int, nvml.Return) { return 5, r },
		GetMaxPcieLinkWidthFunc:      func() (int, nvml.Return) { return 16, r },
		GetPciInfoFunc:               func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{Bus: 0x0f}, r },
		GetMemoryInfoFunc:            func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 1000, Used: 400}, r },
		GetUtilizationRatesFunc:      func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 25}, r },
		GetPowerUsageFunc:            func() (uint32, nvml.Return) { return 123400, r },
		GetEnforcedPowerLimitFunc:    func() (uint32, nvml.Return) { return 700000, r },
		GetTotalEnergyConsumptionFunc: func() (uint64, nvml.Return) {
			return 0, nvml.ERROR_NOT_SUPPORTED
		},
	}
}

// driver is an NVML with these GPUs.
func driver(devices ...nvml.Device) *mock.Interface {
	return &mock.Interface{
		InitFunc:                   func() nvml.Return { return nvml.SUCCESS },
		ShutdownFunc:               func() nvml.Return { return nvml.SUCCESS },
		SystemGetDriverVersionFunc: func() (string, nvml.Return) { return "580.159.04", nvml.SUCCESS },
		DeviceGetCountFunc:         func() (int, nvml.Return) { return len(devices), nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(i int) (nvml.Device, nvml.Return) { return devices[i], nvml.SUCCESS },
	}
}

func TestNVML(t *testing.T) {
	n, err := openNVML(driver(gpu("GPU-a", false), gpu("GPU-b", true)))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	gpus, err := n.GPUs()
	want := GPU{UUID: "GPU-a", Name: "NVIDIA H200", Driver: "580.159.04", PCI: "0000:0f:00.0", Generation: 5, Lanes: 16}
	if err != nil || len(gpus) != 2 || gpus[0] != want {
		t.Errorf("GPUs are %+v, %v; want the first to be %+v", gpus, err, want)
	}
	samples, err := n.Sample()
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v, %v: want those that answer", samples, err)
	}
	same(t, samples[0], Sample{UUID: "GPU-a", Utilization: 0.25, MemoryTotal: 1000, MemoryUsed: 400, Power: 123.4, PowerLimit: 700, Energy: math.NaN()})
}

func TestNVMLWithoutGPU(t *testing.T) {
	broken := driver()
	broken.InitFunc = func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED }
	for name, library := range map[string]*mock.Interface{"no GPU": driver(), "no driver": broken} {
		if _, err := openNVML(library); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenNVML(filepath.Join(t.TempDir(), "libnvidia-ml.so.1")); !errors.Is(err, ErrNone) {
		t.Errorf("no library: %v", err)
	}
}

func TestNVMLWhoseGPUsAreLost(t *testing.T) {
	n, err := openNVML(driver(gpu("GPU-b", true)))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.Sample(); err == nil {
		t.Errorf("sampled %v", s)
	}
}

// TestThisMachine opens what there is here, whatever that is.
func TestThisMachine(t *testing.T) {
	s, err := Open("/", "GPU-1")
	if err != nil {
		if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "NVML") || !strings.Contains(err.Error(), "devfreq") {
			t.Errorf("%v: want both reasons", err)
		}
		return
	}
	defer s.Close()
	gpus, err := s.GPUs()
	if err != nil || len(gpus) == 0 {
		t.Fatal(gpus, err)
	}
	samples, err := s.Sample()
	t.Log(gpus, samples, err)
	if err != nil || samples[0].UUID != gpus[0].UUID || !(samples[0].MemoryUsed <= samples[0].MemoryTotal) {
		t.Errorf("%+v, %v", samples, err)
	}
}

// still is a Source that answers once it is let.
type still struct {
	let    chan struct{}
	asked  atomic.Int32
	closed atomic.Bool
}

func (s *still) GPUs() ([]GPU, error) { return nil, nil }
func (s *still) Close()               { s.closed.Store(true) }
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
		if n := testutil.CollectAndCount(c); n != 5 {
			t.Errorf("%d series, want all but the energy", n)
		}
		c.Close()
		if !s.closed.Load() {
			t.Error("not closed")
		}
	})
}

func TestSeries(t *testing.T) {
	n, err := openNVML(driver(gpu("GPU-a", false)))
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(n, slog.New(slog.DiscardHandler))
	defer c.Close()
	want := `# HELP nv_gpu_utilization Part of the time that the GPU computed, 0 to 1.
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-a"} 0.25
# HELP nv_gpu_power_usage Power that the GPU draws, in watts.
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{gpu_uuid="GPU-a"} 123.4
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "nv_gpu_utilization", "nv_gpu_power_usage"); err != nil {
		t.Error(err)
	}
}
