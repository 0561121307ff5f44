package server

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// scrape reads the metrics of a server.
func scrape(t *testing.T, s *Server) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := newFakeManager()
	i := newInstallation(t, m, openStore(t, t.TempDir()))
	redeployed := api.FunctionRef{Namespace: alice.Namespace, Name: alice.Name, UID: "2"}
	addModel(t, i.Server, alice, "m", "1")
	addModel(t, i.Server, redeployed, "m", "1") // both deployments at once: one series
	infer := func(ref api.FunctionRef) {
		send(t, "POST", i.url+"/v2/models/m/infer", four, "Authorization", i.function(t, ref, time.Hour))
	}
	infer(alice)
	infer(redeployed)
	m.infer = func(_ context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		result, err := double(t.Context(), r)
		result.Outcome, result.Swap = api.CacheSwap, 3*time.Millisecond
		return result, err
	}
	infer(alice)
	m.infer = func(context.Context, cachemgr.Request) (cachemgr.Result, error) {
		return cachemgr.Result{}, engine.ErrNoMemory
	}
	infer(alice)
	m.change(func(models map[string]cachemgr.ModelState) {
		models[offerOf("m", "1").Digest] = cachemgr.ModelState{
			Stats:     api.CacheStats{Evictions: 4, SwapBytes: 5, SwapNs: 6e9},
			Instances: []api.InstanceStatus{{Device: "cpu", State: api.StateResident}},
		}
		m.status.Devices[0].Resident = 77
	})
	text := scrape(t, i.Server)
	const labels = `{function="alice",model="m",namespace="ns",version="1"}`
	for _, want := range []string{
		"nv_inference_request_success" + labels + " 3",
		"nv_inference_count" + labels + " 3",
		"nv_inference_exec_count" + labels + " 3",
		"nv_inference_queue_duration_us" + labels + " 6",
		"nv_inference_compute_infer_duration_us" + labels + " 90",
		`nv_inference_request_failure{function="alice",model="m",namespace="ns",reason="REJECTED",version="1"} 1`,
		`nv_inference_request_failure{function="alice",model="m",namespace="ns",reason="BACKEND",version="1"} 0`,
		"nv_inference_pending_request_count" + labels + " 0",
		"faas_gpu_cache_hits_total" + labels + " 2",
		"faas_gpu_cache_swaps_total" + labels + " 1",
		"faas_gpu_cache_loads_total" + labels + " 0",
		`faas_gpu_cache_evictions_total{digest="` + offerOf("m", "1").Digest + `"} 4`,
		`faas_gpu_swap_bytes_total{digest="` + offerOf("m", "1").Digest + `"} 5`,
		`faas_gpu_load_seconds_total{digest="` + offerOf("m", "1").Digest + `"} 6`,
		`faas_gpu_swap_seconds_sum{cache="swap"} 0.003`,
		`faas_gpu_resident_bytes{device="cpu"} 77`,
		`faas_gpu_models{device="cpu",state="resident"} 1`,
		`faas_gpu_models{device="cpu",state="failed"} 0`,
		"faas_gpu_host_pool_budget_bytes 5000",
		"go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%s is missing", want)
		}
	}
	// What is forgotten leaves no series behind.
	for _, ref := range []api.FunctionRef{alice, redeployed} {
		offered(t, i, i.function(t, ref, time.Hour))
	}
	if text := scrape(t, i.Server); strings.Contains(text, "alice") || strings.Contains(text, "sha256:") {
		t.Errorf("series of a forgotten model are left: %s", text)
	}
}

func TestCountersOutliveADeployment(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	next := api.FunctionRef{Namespace: alice.Namespace, Name: alice.Name, UID: "2"}
	addModel(t, i.Server, alice, "m", "1")
	i.works(t, i.function(t, alice, time.Hour), "m")
	addModel(t, i.Server, next, "m", "1")
	offered(t, i, i.function(t, alice, time.Hour)) // the old one leaves
	i.works(t, i.function(t, next, time.Hour), "m")
	if text := scrape(t, i.Server); !strings.Contains(text, `nv_inference_request_success{function="alice",model="m",namespace="ns",version="1"} 2`) {
		t.Error(text)
	}
}

func TestStatistics(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	addModel(t, s, api.FunctionRef{}, "other", "1")
	send(t, "POST", h.URL+inferPath, four)
	send(t, "POST", h.URL+inferPath, "{}")
	for path, models := range map[string]int{"/v2/models/stats": 2, "/v2/models/twice/stats": 1, "/v2/models/twice/versions/1/stats": 1} {
		_, body := send(t, "GET", h.URL+path, "")
		got := decode[oip.Statistics](t, body)
		if len(got.Models) != models {
			t.Errorf("%s: %s", path, body)
			continue
		}
		m := got.Models[len(got.Models)-1]
		if m.Name != "twice" || m.InferenceCount != 1 || m.ExecutionCount != 1 || m.LastInference == 0 ||
			m.Inference.Success.Count != 1 || m.Inference.Fail.Count != 1 || m.Inference.ComputeInfer != (oip.Duration{Count: 1, Ns: 30000}) {
			t.Errorf("%s: %+v", path, m)
		}
	}
	if resp, _ := send(t, "GET", h.URL+"/v2/models/none/stats", ""); resp.StatusCode != 404 {
		t.Errorf("unknown model: %d", resp.StatusCode)
	}
}

func TestReadiness(t *testing.T) {
	m := newFakeManager()
	s, h := newServer(t, m, Limits{})
	get := func(path string) int {
		resp, _ := send(t, "GET", h.URL+path, "")
		return resp.StatusCode
	}
	const model = "/v2/models/twice/ready"
	if get("/v2/health/live") != 200 || get("/v2/health/ready") != 200 || get(model) != 200 {
		t.Error("not ready from the start")
	}
	for _, m.refusal = range []error{cachemgr.ErrTooLarge, &cachemgr.FailedError{Reason: errors.New("bad weights")}} {
		resp, body := send(t, "GET", h.URL+model, "")
		if resp.StatusCode != 503 || !strings.Contains(body, m.refusal.Error()) || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", m.refusal, resp.StatusCode, body)
		}
	}
	m.refusal = nil
	if got := get(model); got != 200 {
		t.Errorf("a model that may be tried again: %d", got)
	}
	s.catalog.entriesOf(api.FunctionRef{})[0].file.spec.Store(nil)
	m.specErr = engine.ErrBadModel
	if got := get(model); got != 503 {
		t.Errorf("a model that cannot be read: %d", got)
	}
	m.status.Devices = nil
	if got := get("/v2/health/ready"); got != 503 {
		t.Errorf("a node without a device: %d", got)
	}
	s.Drain()
	if get("/v2/health/live") != 200 || get("/v2/health/ready") != 503 || get(model) != 503 {
		t.Error("ready while shutting down")
	}
}

func TestRepository(t *testing.T) {
	m := newFakeManager()
	_, h := newServer(t, m, Limits{})
	index := func(body string) string {
		_, answer := send(t, "POST", h.URL+"/v2/repository/index", body)
		return answer
	}
	if got := index(""); got != `[{"name":"twice","version":"1","state":"UNAVAILABLE","reason":"not loaded"}]` {
		t.Errorf("index: %s", got)
	}
	if got := index(`{"ready":true}`); got != "[]" {
		t.Errorf("index of what is ready: %s", got)
	}
	if resp, body := send(t, "POST", h.URL+"/v2/repository/models/twice/load", `{"parameters":{}}`); resp.StatusCode != 200 {
		t.Errorf("load: %d %s", resp.StatusCode, body)
	}
	loads := len(m.loaded())
	for _, body := range []string{`{"parameters":{"config":"{}"}}`, `{"parameters":{"file:1/model.onnx":"AAAA"}}`} {
		if resp, answer := send(t, "POST", h.URL+"/v2/repository/models/twice/load", body); resp.StatusCode != 400 || !strings.Contains(answer, "not supported") {
			t.Errorf("load with %s: %d %s", body, resp.StatusCode, answer)
		}
	}
	if len(m.loaded()) != loads {
		t.Error("loaded all the same")
	}
	if got := index(`{"ready":true}`); got != `[{"name":"twice","version":"1","state":"READY","reason":""}]` {
		t.Errorf("index after a load: %s", got)
	}
	if resp, body := send(t, "POST", h.URL+"/v2/repository/models/twice/unload", `{"parameters":{"unload_dependents":false}}`); resp.StatusCode != 200 {
		t.Errorf("unload: %d %s", resp.StatusCode, body)
	}
	if got := index(""); !strings.Contains(got, "UNAVAILABLE") {
		t.Errorf("index after an unload: %s", got)
	}
	if resp, _ := send(t, "POST", h.URL+"/v2/repository/models/none/load", ""); resp.StatusCode != 404 {
		t.Errorf("unknown model: %d", resp.StatusCode)
	}
	if resp, _ := send(t, "POST", h.URL+"/v2/repository/index", "{"); resp.StatusCode != 400 {
		t.Errorf("no JSON: %d", resp.StatusCode)
	}
}

func TestIndexState(t *testing.T) {
	for _, c := range []struct {
		states []api.State
		want   string
	}{
		{nil, oip.IndexUnavailable},
		{[]api.State{api.StateFailed}, oip.IndexUnavailable},
		{[]api.State{api.StateParked}, oip.IndexUnavailable},
		{[]api.State{api.StateDraining, api.StateLoading}, oip.IndexLoading},
		{[]api.State{api.StateDraining, api.StateFailed}, oip.IndexUnloading},
		{[]api.State{api.StateFailed, api.StateResident, api.StateLoading}, oip.IndexReady},
	} {
		var m cachemgr.ModelState
		for _, s := range c.states {
			m.Instances = append(m.Instances, api.InstanceStatus{State: s, Reason: "why"})
		}
		if got, _ := indexState(m); got != c.want {
			t.Errorf("%v is %s, want %s", c.states, got, c.want)
		}
	}
}
