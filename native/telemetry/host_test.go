package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestHost(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/stat":    "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 100 0 100 700 100 0 0 0 0 0\nintr 5\n",
		"proc/meminfo": meminfo,
	})
	h := NewHost(root)
	if n := testutil.CollectAndCount(h, "nv_cpu_utilization"); n != 0 {
		t.Errorf("%d utilizations of no time", n)
	}
	// 400 more, of which 100 idle and 50 waiting.
	stat := filepath.Join(root, "proc/stat")
	if err := os.WriteFile(stat, []byte("cpu  200 50 150 800 150 0 40 10 30 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := `# HELP nv_cpu_memory_total_bytes Memory of the machine.
# TYPE nv_cpu_memory_total_bytes gauge
nv_cpu_memory_total_bytes 4.156248064e+09
# HELP nv_cpu_memory_used_bytes Memory of the machine in use, without what could be freed at once.
# TYPE nv_cpu_memory_used_bytes gauge
nv_cpu_memory_used_bytes 2.048e+09
# HELP nv_cpu_utilization Part of the time that the processors computed, 0 to 1, since the scrape before.
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.625
`
	if err := testutil.CollectAndCompare(h, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestHostThatTellsNothing(t *testing.T) {
	for name, stat := range map[string]string{
		"empty": "", "short": "cpu 1 2 3\n", "no numbers": "cpu a b c d e f g h\n", "another": "disk 1 2 3 4 5 6 7 8\n",
	} {
		h := NewHost(tree(t, map[string]string{"proc/stat": stat, "proc/meminfo": "MemTotal: 5 kB\n"}))
		if n := testutil.CollectAndCount(h); n != 0 {
			t.Errorf("%s: %d series", name, n)
		}
	}
	if n := testutil.CollectAndCount(NewHost(t.TempDir())); n != 0 {
		t.Errorf("no files: %d series", n)
	}
}
