package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/faas-gpu/faas-gpu/internal/metricsdoc"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

const (
	prometheusVariable = "PROMETHEUS" // the program
	scrapeInterval     = "500ms"
	// rateInterval stands for Grafana's variable, which is at least four scrapes.
	rateInterval = "4s"
)

// panel is one of a dashboard's.
type panel struct {
	ID         int
	GridPos    struct{ X, Y, W, H int }
	Title      string
	Type       string
	Datasource struct{ UID string }
	Targets    []struct{ Expr string }
}

// panels reads the dashboard that compose.yaml has.
func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("../compose/grafana/dashboards/faas-gpu.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// TestDashboardNamesMetrics: a dashboard asks for metrics that are documented, of
// the data source that is provisioned.
func TestDashboardNamesMetrics(t *testing.T) {
	known, err := metricsdoc.Names(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../compose/grafana/provisioning/datasources/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, p := range panels(t) {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || !strings.Contains(string(source), "uid: "+p.Datasource.UID+"\n") {
			t.Errorf("panel %q has %d queries of the data source %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
		for _, q := range p.Targets {
			queries++
			for _, name := range metricNames(q.Expr) {
				if !known[name] && !known[strings.TrimSuffix(name, "_bucket")] && name != "process_resident_memory_bytes" {
					t.Errorf("panel %q asks for %s, which %s does not know", p.Title, name, metricsPage)
				}
			}
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries only", queries)
	}
}

// TestDashboardLayout: panels have numbers of their own, and none lies on another.
func TestDashboardLayout(t *testing.T) {
	ids := make(map[int]bool)
	cells := make(map[[2]int]string)
	for _, p := range panels(t) {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has the number %d, which another has too", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q is at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(nv|faas_gpu|provider_http|process|go)_[a-z0-9_]+`)

func metricNames(query string) []string { return metricName.FindAllString(query, -1) }

// dashboard asks every query of a Prometheus, with the configuration of compose.yaml.
// What only a GPU has need not be there.
func dashboard(t *testing.T, o *observed) {
	api := startPrometheus(t, o)
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			query := strings.ReplaceAll(q.Expr, "$__rate_interval", rateInterval)
			optional := false
			for _, name := range metricNames(query) {
				optional = optional || gpuOnly(name)
			}
			within(t, 30*time.Second, func() error {
				o.traffic(t)
				values, err := ask(t, api, query)
				if err != nil {
					return lab.Final(fmt.Errorf("panel %q, %s: %w", p.Title, query, err))
				}
				if len(values) == 0 && !optional {
					return fmt.Errorf("panel %q: no number for %s", p.Title, query)
				}
				return nil
			})
		}
	}
}

// startPrometheus returns the address of one that reads the lab.
func startPrometheus(t *testing.T, o *observed) string {
	t.Helper()
	program := os.Getenv(prometheusVariable)
	if _, err := os.Stat(program); program == "" || err != nil {
		t.Skipf("%s=%q is no program: `make test` gets it where it can (Debian: apt-get install prometheus)", prometheusVariable, program)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), prometheusConfig(t, o), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	// Programs of a lab have no arguments.
	script := filepath.Join(dir, "run.sh")
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' --config.file=%s/prometheus.yml --storage.tsdb.path=%s/data --web.listen-address=%s\n", program, dir, dir, address)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := lab.StartProcess(t.Context(), script, os.Environ(), filepath.Join(dir, "log"), func(ctx context.Context) error {
		return answers(ctx, "http://"+address+"/-/ready")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + address
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// prometheusConfig is that of compose.yaml, which reads this lab instead, and more
// often.
func prometheusConfig(t *testing.T, o *observed) []byte {
	t.Helper()
	text, err := os.ReadFile("../compose/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Global map[string]string `yaml:"global"`
		Jobs   []struct {
			Name   string `yaml:"job_name"`
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	c.Global["scrape_interval"], c.Global["scrape_timeout"] = scrapeInterval, scrapeInterval
	places := map[string]string{"127.0.0.1:8081": o.provider, "127.0.0.1:8002": o.cachemgr}
	for _, job := range c.Jobs {
		for _, static := range job.Static {
			for i, target := range static.Targets {
				if static.Targets[i] = places[target]; static.Targets[i] == "" {
					t.Fatalf("job %s reads %s, which compose.yaml does not have", job.Name, target)
				}
			}
		}
	}
	out, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ask returns the numbers that a query has now; what is no number is left out.
func ask(t *testing.T, api, query string) (values []float64, err error) {
	t.Helper()
	resp, err := http.Get(api + "/api/v1/query?" + url.Values{"query": {query}}.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	return values, nil
}
