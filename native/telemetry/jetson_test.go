package telemetry

import (
	"errors"
	"math"
	"testing"
)

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
				"sys/class/thermal/thermal_zone1/type":                   "CPU-therm\n",
				"sys/class/thermal/thermal_zone1/temp":                   "99000\n",
				"sys/class/thermal/thermal_zone2/type":                   "GPU-therm\n",
				"sys/class/thermal/thermal_zone2/temp":                   "41500\n",
				"proc/device-tree/model":                                 "NVIDIA Jetson Nano Developer Kit\x00",
				"proc/meminfo":                                           meminfo,
				"etc/nv_tegra_release":                                   "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
				"sys/class/devfreq/54340000.vic/device/of_node/name":     "vic\x00",
				"sys/class/devfreq/54340000.vic/device/load":             "999\n",
			},
			gpu:  GPU{UUID: "GPU-1", Name: "NVIDIA Jetson Nano Developer Kit", Driver: "L4T R32.7.1"},
			want: Sample{Utilization: 0.437, MemoryTotal: 4058836 * 1024, MemoryUsed: 2000000 * 1024, Power: 1.25, Temperature: 41.5},
		},
		"Orin, L4T 36": {
			files: map[string]string{
				"sys/class/devfreq/17000000.gpu/device/of_node/name":  "gpu\x00",
				"sys/class/devfreq/17000000.gpu/device/load":          "1000\n",
				"sys/class/thermal/thermal_zone1/type":                "gpu-thermal\n",
				"sys/class/thermal/thermal_zone1/temp":                "52250\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/in1_label":   "VDD_GPU_SOC\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/in1_input":   "19000\n",
				"sys/bus/i2c/devices/1-0040/hwmon/hwmon1/curr1_input": "500\n",
				"proc/meminfo": meminfo,
			},
			gpu:  GPU{UUID: "GPU-1"},
			want: Sample{Utilization: 1, MemoryTotal: 4058836 * 1024, MemoryUsed: 2000000 * 1024, Power: 9.5, Temperature: 52.25},
		},
		"without a power monitor": {
			files: map[string]string{
				"sys/class/devfreq/17000000.gv11b/device/of_node/name": "gv11b",
				"sys/class/devfreq/17000000.gv11b/device/load":         "0\n",
				"proc/meminfo": "nothing\n",
			},
			gpu:  GPU{UUID: "GPU-1"},
			want: Sample{MemoryTotal: math.NaN(), MemoryUsed: math.NaN(), Power: math.NaN(), Temperature: math.NaN()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := OpenJetson(tree(t, c.files), []string{"GPU-1"})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if gpus := j.GPUs(); len(gpus) != 1 || gpus[0] != c.gpu {
				t.Errorf("GPUs are %+v, want %+v", gpus, c.gpu)
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

func TestNoBoard(t *testing.T) {
	for name, root := range map[string]string{
		"empty": t.TempDir(),
		"a PC":  tree(t, map[string]string{"sys/class/devfreq/0000:00:02.0/device/of_node/name": "vpu"}),
	} {
		if _, err := OpenJetson(root, []string{"GPU-1"}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadThatIsNoNumber(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/class/devfreq/gpu/device/of_node/name": "gpu",
		"sys/class/devfreq/gpu/device/load":         "N/A",
	})
	j, err := OpenJetson(root, []string{"GPU-1"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := j.Sample(); err == nil {
		t.Errorf("sampled %v", s)
	}
}
