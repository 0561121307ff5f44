package onnxrt

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestHostMemory(t *testing.T) {
	const kib = 1 << 10
	machine := "MemTotal:       1000 kB\nMemFree:  5 kB\nMemAvailable:    600 kB\nHugePages_Total:  0\n"
	for _, c := range []struct {
		name        string
		files       map[string]string
		total, free int64
		fails       string
	}{
		{"no group", map[string]string{"proc/meminfo": machine}, 1000 * kib, 600 * kib, ""},
		{"a group", map[string]string{
			"proc/meminfo":     machine,
			"proc/self/cgroup": "0::/system.slice/x\n",
			"sys/fs/cgroup/system.slice/x/memory.max":     "512000\n",
			"sys/fs/cgroup/system.slice/x/memory.current": "12000\n",
		}, 512000, 500000, ""},
		{"a group above it is tighter", map[string]string{
			"proc/meminfo":     machine,
			"proc/self/cgroup": "0::/system.slice/x\n",
			"sys/fs/cgroup/system.slice/x/memory.max":     "512000\n",
			"sys/fs/cgroup/system.slice/x/memory.current": "12000\n",
			"sys/fs/cgroup/system.slice/memory.max":       "100000\n",
			"sys/fs/cgroup/system.slice/memory.current":   "150000\n",
		}, 100000, 0, ""},
		{"a group above it has less left", map[string]string{
			"proc/meminfo":     machine,
			"proc/self/cgroup": "0::/system.slice/x\n",
			"sys/fs/cgroup/system.slice/x/memory.max":     "100000\n",
			"sys/fs/cgroup/system.slice/x/memory.current": "20000\n",
			"sys/fs/cgroup/system.slice/memory.max":       "300000\n",
			"sys/fs/cgroup/system.slice/memory.current":   "250000\n",
		}, 100000, 50000, ""},
		{"a group whose memory holds files", map[string]string{
			"proc/meminfo":                   machine,
			"proc/self/cgroup":               "0::/x\n",
			"sys/fs/cgroup/x/memory.max":     "512000\n",
			"sys/fs/cgroup/x/memory.current": "510000\n",
			"sys/fs/cgroup/x/memory.stat":    "anon 10000\nfile 500000\ninactive_file 300000\nactive_file 190000\nslab 5\n",
		}, 512000, 492000, ""},
		{"a group of the first version whose memory holds files", map[string]string{
			"proc/meminfo":     machine,
			"proc/self/cgroup": "3:cpu,memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "400000\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "390000\n",
			"sys/fs/cgroup/memory/a/memory.stat":           "inactive_file 1\ntotal_inactive_file 250000\ntotal_active_file 40000\n",
		}, 400000, 300000, ""},
		{"a group without a limit", map[string]string{
			"proc/meminfo":                 machine,
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "max\n",
			"sys/fs/cgroup/memory.current": "12000\n",
		}, 1000 * kib, 600 * kib, ""},
		{"a group that limits less than the machine", map[string]string{
			"proc/meminfo":                 machine,
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "9999999999\n",
			"sys/fs/cgroup/memory.current": "12000\n",
		}, 1000 * kib, 600 * kib, ""},
		{"the first version of groups", map[string]string{
			"proc/meminfo":     machine,
			"proc/self/cgroup": "3:cpu,memory:/a\n1:name=systemd:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "400000\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "100000\n",
		}, 400000, 300000, ""},
		{"no meminfo", nil, 0, 0, "meminfo"},
		{"meminfo of something else", map[string]string{"proc/meminfo": "MemTotal: many kB\n"}, 0, 0, "MemAvailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range c.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			total, free, err := hostMemory(root)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, want an error about %s", err, c.fails)
				}
				return
			}
			if err != nil || total != c.total || free != c.free {
				t.Errorf("got %d, %d, %v, want %d, %d", total, free, err, c.total, c.free)
			}
		})
	}
}
