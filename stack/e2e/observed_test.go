package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/faas-gpu/faas-gpu/internal/metricsdoc"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

const metricsPage = "../../docs/metrics.md"

// observed is a lab with traffic, and where it can be read.
type observed struct {
	*lab.Lab
	provider, cachemgr string // HOST:PORT
}

// startObserved starts two functions whose models do not fit on the device
// together, with an objective.
func startObserved(t *testing.T) *observed {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &observed{cachemgr: listener.Addr().String()}
	listener.Close()
	o.Lab = start(t, lab.Options{Cachemgr: []string{"metrics_listen=" + o.cachemgr, "device_budget=20Mi", "host_budget=256Mi"}})
	o.provider = strings.TrimPrefix(o.URL, "http://")
	for i := range 2 {
		name := fmt.Sprint("f", i)
		m := generate(t, modelgen.Spec{Family: modelgen.SqueezeNet, Seed: uint64(i + 1), Resolution: 64})
		build(t, o.Lab, name, "go-trt", "stack/bench/function", map[string][]byte{"m/1": m})
		deploy(t, o.Lab, types.FunctionDeployment{
			Service: name, Image: name, EnvVars: raw("input", "output", "1,3,64,64"),
			Annotations: &map[string]string{"com.openfaas.gpu.slo": "10s"},
		})
	}
	return o
}

// traffic calls both functions, the second time while the model is still there.
func (o *observed) traffic(t *testing.T) {
	t.Helper()
	for i := range 4 {
		if a := invoke(t, o.Lab, fmt.Sprint("f", i/2), "", blank); a.Status != http.StatusOK {
			t.Fatalf("f%d answered %d: %s", i/2, a.Status, a.Body)
		}
	}
}

// TestMetrics: docs/metrics.md has what the programs expose, and nothing else.
func TestMetrics(t *testing.T) {
	o := startObserved(t)
	for range 2 {
		o.traffic(t)
	}
	replica, err := o.ReplicaMetrics("f0")
	if err != nil {
		t.Fatal(err)
	}
	for section, url := range map[string]string{
		"provider": "http://" + o.provider + "/metrics", "cachemgr": "http://" + o.cachemgr + "/metrics", "replica": replica,
	} {
		families := scrape(t, url)
		for name := range families {
			if gpuOnly(name) {
				t.Errorf("%s exposes %s although there is no GPU", section, name)
			}
		}
		if err := metricsdoc.Check(metricsPage, section, families); err != nil {
			t.Error(err)
		}
	}
	t.Run("Dashboard", func(t *testing.T) { dashboard(t, o) })
}

func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return families
}

// gpuOnly: a metric that only a GPU has.
func gpuOnly(name string) bool {
	return strings.HasPrefix(name, "nv_gpu_") || name == "nv_energy_consumption" || strings.HasPrefix(name, "faas_gpu_device_")
}
