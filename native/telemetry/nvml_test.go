package telemetry

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
)

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
		GetMemoryInfo_v2Func: func() (nvml.Memory_v2, nvml.Return) {
			return nvml.Memory_v2{Total: 1000, Reserved: 100, Used: 400}, r
		},
		GetMemoryInfoFunc:         func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 1000, Used: 400}, r },
		GetUtilizationRatesFunc:   func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 25}, r },
		GetPowerUsageFunc:         func() (uint32, nvml.Return) { return 123400, r },
		GetEnforcedPowerLimitFunc: func() (uint32, nvml.Return) { return 700000, r },
		GetTemperatureFunc:        func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 60, r },
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
	n, err := openNVML(driver(gpu("GPU-other", false), gpu("GPU-a", false), gpu("GPU-b", true)), []string{"GPU-a", "GPU-b"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	gpus := n.GPUs()
	want := GPU{UUID: "GPU-a", Name: "NVIDIA H200", Driver: "580.159.04", PCI: "0000:0f:00.0", Generation: 5, Lanes: 16}
	if len(gpus) != 2 || gpus[0] != want || gpus[1].UUID != "GPU-b" {
		t.Errorf("GPUs are %+v; want the first to be %+v", gpus, want)
	}
	samples, err := n.Sample()
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v, %v: want those that answer", samples, err)
	}
	same(t, samples[0], Sample{UUID: "GPU-a", Utilization: 0.25, MemoryTotal: 1000, MemoryUsed: 400, Power: 123.4, PowerLimit: 700, Energy: math.NaN(), Temperature: 60})
}

func TestNVMLOfAnOldDriver(t *testing.T) {
	old := gpu("GPU-a", false)
	old.GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) { return nvml.Memory_v2{}, nvml.ERROR_FUNCTION_NOT_FOUND }
	old.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 1000, Used: 500}, nvml.SUCCESS }
	n, err := openNVML(driver(old), nil)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := n.Sample()
	if err != nil || len(samples) != 1 || samples[0].MemoryTotal != 1000 || samples[0].MemoryUsed != 500 {
		t.Errorf("%+v, %v", samples, err)
	}
}

func TestNVMLWithoutGPU(t *testing.T) {
	broken := driver()
	broken.InitFunc = func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED }
	for name, library := range map[string]*mock.Interface{"no GPU": driver(), "others": driver(gpu("GPU-other", false)), "no driver": broken} {
		if _, err := openNVML(library, []string{"GPU-a"}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenNVML(filepath.Join(t.TempDir(), "libnvidia-ml.so.1"), nil); !errors.Is(err, ErrNone) {
		t.Errorf("no library: %v", err)
	}
}

func TestNVMLWhoseGPUsAreLost(t *testing.T) {
	n, err := openNVML(driver(gpu("GPU-b", true)), []string{"GPU-b"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.Sample(); err == nil {
		t.Errorf("sampled %v", s)
	}
}
