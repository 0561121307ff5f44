package telemetry

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// TestThisMachine opens what there is here, whatever that is.
func TestThisMachine(t *testing.T) {
	n, err := OpenNVML("", nil)
	if err != nil {
		if !errors.Is(err, ErrNone) {
			t.Error(err)
		}
		if _, err := Open("/", []string{"GPU-1"}); err != nil && (!strings.Contains(err.Error(), "NVML") || !strings.Contains(err.Error(), "devfreq")) {
			t.Errorf("%v: want both reasons", err)
		}
		t.Skip("no GPU to ask: ", err)
	}
	samples, err := n.Sample()
	t.Logf("%+v, %+v", n.GPUs(), samples)
	if err != nil || samples[0].UUID != n.GPUs()[0].UUID || !(samples[0].MemoryUsed <= samples[0].MemoryTotal) {
		t.Errorf("%+v, %v", samples, err)
	}
	c := NewCollector(n, slog.New(slog.DiscardHandler))
	defer c.Close()
	if count := testutil.CollectAndCount(c, "nv_gpu_memory_total_bytes"); count != len(n.GPUs()) {
		t.Errorf("%d GPUs of %d are told of", count, len(n.GPUs()))
	}
}
