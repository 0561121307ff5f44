package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faas-gpu/faas-gpu/internal/env"
)

// The machine is told of on every node; without NVML and without a Jetson's files
// GPUs are not, and the log says why, once.
func TestMetricsOfTheMachine(t *testing.T) {
	for name, c := range map[string]struct {
		environ func(t *testing.T) []string
		warns   int
	}{
		"cpu": {func(t *testing.T) []string { return []string{"onnxruntime_library=" + onnxLibrary(t)} }, 0},
		"gpu": {func(t *testing.T) []string { return gpuEnviron(t) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := socketDir(t)
			environ := append(c.environ(t), "auth=none", "listen=off", "metrics_listen=127.0.0.1:0", "socket_dir="+dir, "store_path="+filepath.Join(dir, "store"))
			log, w := io.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- run(ctx, nil, environ, io.Discard, w)
				w.Close()
			}()
			lines, read := bufio.NewScanner(log), ""
			serving, address := regexp.MustCompile(`what=metrics address=(\S+)`), ""
			for address == "" && lines.Scan() {
				read += lines.Text() + "\n"
				if m := serving.FindStringSubmatch(lines.Text()); m != nil {
					address = m[1]
				}
			}
			go io.Copy(io.Discard, log)
			if address == "" {
				t.Fatalf("no address in\n%s", read)
			}
			page := get(t, "http://"+address+"/metrics")
			for _, series := range []string{"\nnv_cpu_memory_total_bytes ", "\nnv_cpu_memory_used_bytes "} {
				if !strings.Contains(page, series) {
					t.Errorf("no %q in\n%s", series, page)
				}
			}
			if n := strings.Count(read, "no metrics of GPUs"); n != c.warns || n == 1 && (!strings.Contains(read, "NVML") || !strings.Contains(read, "devfreq")) {
				t.Errorf("want %d reasons in\n%s", c.warns, read)
			}
			said := func() error { return run(ctx, []string{checkReady}, environ, io.Discard, io.Discard) }
			if err := said(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if said() == nil {
				t.Error("it is ready although it has ended")
			}
		})
	}
}

// On a Jetson the GPU that computes is the one that the kernel's files tell of.
func TestMetricsOfAJetson(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"of_node/name": "gpu", "load": "250"} {
		path := filepath.Join(root, "sys/class/devfreq/57000000.gpu/device", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	environ, log := gpuEnviron(t), slog.New(slog.DiscardHandler)
	c := readConfig(env.New(environ))
	if err := c.openEngines(environ, log); err != nil {
		t.Fatal(err)
	}
	stop, err := c.openTelemetry(t.Context(), root, log)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	for _, m := range c.node.Metrics {
		registry.MustRegister(m)
	}
	want := `# HELP nv_gpu_utilization Part of the time that the GPU computed, 0 to 1.
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-double"} 0.25
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "nv_gpu_utilization"); err != nil {
		t.Error(err)
	}
	stop()
	if err := c.closeEngines(); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(text)
}
