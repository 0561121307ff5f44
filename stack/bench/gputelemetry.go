package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrapes is how often the metrics are read.
const scrapes = 20

// gpuTelemetry reads what a cache manager tells of its GPUs, and how long that takes.
// On the driver double there is nothing to tell.
func gpuTelemetry(ctx context.Context, o gpuOptions) (_ any, err error) {
	n, err := startNode(ctx, o, 64<<20)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	log, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return nil, err
	}
	address := metricsAddress.FindSubmatch(log)
	if address == nil {
		return nil, errors.New("the log has no address of metrics")
	}
	var took []float64
	var families map[string]*dto.MetricFamily
	for range scrapes {
		began := time.Now()
		if families, err = readMetrics(ctx, "http://"+string(address[1])+"/metrics"); err != nil {
			return nil, err
		}
		took = append(took, millis(time.Since(began)))
	}
	figures := o.figures()
	figures["scrape_ms"] = median(took)
	series := map[string]any{}
	for name, family := range families {
		if strings.HasPrefix(name, "nv_gpu_") || name == "nv_energy_consumption" || strings.HasPrefix(name, "faas_gpu_device_") {
			for _, m := range family.GetMetric() {
				series[name+labelText(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	figures["series"] = series
	return figures, nil
}

var metricsAddress = regexp.MustCompile(`what=metrics address=(\S+)`)

func readMetrics(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// labelText is the labels of a series as Prometheus writes them.
func labelText(m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(labels, ",") + "}"
}
