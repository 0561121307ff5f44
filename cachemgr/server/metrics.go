package server

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// metrics sets up the server's own registry, with what else the node can tell.
func (s *Server) metrics(others []prometheus.Collector) error {
	s.registry = prometheus.NewRegistry()
	s.swaps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "faas_gpu_swap_seconds",
		Help:    "Time that requests waited for their model to be staged and loaded, by where it came from.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
	}, []string{"cache"})
	all := append([]prometheus.Collector{s.swaps, &collector{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}, others...)
	for _, c := range all {
		if err := s.registry.Register(c); err != nil {
			return fmt.Errorf("server: metrics: %w", err)
		}
	}
	return nil
}

// Metrics serves Prometheus, the health routes and the node routes, for a
// listener of their own.
func (s *Server) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	for _, path := range []string{"/v2/health/", api.RouteStatus, api.RoutePrefetch, api.RouteReferences} {
		mux.Handle(path, s)
	}
	return mux
}

// collector reads the counters when it is asked: a request pays nothing for
// them, and the series of a model go with its last name.
type collector struct{ server *Server }

// Labels of a model under a function's name for it, and of a file.
var (
	modelLabels  = []string{"model", "version", "function", "namespace"}
	fileLabels   = []string{"digest"}
	deviceLabels = []string{"device"}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// perModel are the counters of a model. Those that Triton has too have its names
// and units.
var perModel = []struct {
	desc  *prometheus.Desc
	value func(*stats) int64
}{
	{desc("nv_inference_request_success", "Requests answered.", modelLabels...), func(s *stats) int64 { return s.success.Load() }},
	{desc("nv_inference_count", "Inferences: a batch of n counts n times.", modelLabels...), func(s *stats) int64 { return s.rows.Load() }},
	{desc("nv_inference_exec_count", "Executions of the model: requests that ran together count once.", modelLabels...), func(s *stats) int64 { return s.executions.Load() }},
	{desc("nv_inference_request_duration_us", "Time of requests, total.", modelLabels...), func(s *stats) int64 { return s.request.microseconds() }},
	{desc("nv_inference_queue_duration_us", "Time in the queue, total.", modelLabels...), func(s *stats) int64 { return s.queue.microseconds() }},
	{desc("nv_inference_compute_input_duration_us", "Time for reading inputs, total.", modelLabels...), func(s *stats) int64 { return s.input.microseconds() }},
	{desc("nv_inference_compute_infer_duration_us", "Time in the model, total.", modelLabels...), func(s *stats) int64 { return s.compute.microseconds() }},
	{desc("nv_inference_compute_output_duration_us", "Time for encoding outputs, total.", modelLabels...), func(s *stats) int64 { return s.output.microseconds() }},
	{desc("faas_gpu_cache_hits_total", "Requests that found their model resident.", modelLabels...), func(s *stats) int64 { return s.hits.Load() }},
	{desc("faas_gpu_cache_swaps_total", "Requests that waited for their model from the host pool.", modelLabels...), func(s *stats) int64 { return s.swaps.Load() }},
	{desc("faas_gpu_cache_loads_total", "Requests that waited for their model from disk.", modelLabels...), func(s *stats) int64 { return s.loads.Load() }},
	{desc("faas_gpu_cache_fallbacks_total", "Requests that another engine answered, because their model's own could not.", modelLabels...), func(s *stats) int64 { return s.fallbacks.Load() }},
	{desc("faas_gpu_slo_inferences_total", "Requests with an objective, whatever became of them.", modelLabels...), func(s *stats) int64 { return s.asked.Load() }},
	{desc("faas_gpu_slo_attained_total", "Requests with an objective that were answered in time.", modelLabels...), func(s *stats) int64 { return s.attained.Load() }},
}

var (
	failureDesc = desc("nv_inference_request_failure", "Requests that got an error.", append([]string{"reason"}, modelLabels...)...)
	pendingDesc = desc("nv_inference_pending_request_count", "Requests not answered yet.", modelLabels...)
	nameDesc    = desc("faas_gpu_model_info", "Which file a model is, always 1.", append([]string{"digest"}, modelLabels...)...)
)

// perFile are the counters of a file, whoever uses it.
var perFile = []struct {
	desc  *prometheus.Desc
	value func(api.CacheStats) float64
}{
	{desc("faas_gpu_cache_evictions_total", "Times a model left a device.", fileLabels...), func(c api.CacheStats) float64 { return float64(c.Evictions) }},
	{desc("faas_gpu_swap_bytes_total", "Bytes loaded onto devices.", fileLabels...), func(c api.CacheStats) float64 { return float64(c.SwapBytes) }},
	{desc("faas_gpu_load_seconds_total", "Time spent loading onto devices.", fileLabels...), func(c api.CacheStats) float64 { return float64(c.SwapNs) / 1e9 }},
}

// perDevice are the byte ledger and the queue of a device.
var perDevice = []struct {
	desc  *prometheus.Desc
	value func(api.DeviceStatus) float64
}{
	{desc("faas_gpu_budget_bytes", "Bytes that models may have on the device.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Budget) }},
	{desc("faas_gpu_resident_bytes", "Bytes of models ready to run.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Resident) }},
	{desc("faas_gpu_loading_bytes", "Bytes set aside for models that are being loaded.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Loading) }},
	{desc("faas_gpu_draining_bytes", "Bytes of models that leave after their last request.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Draining) }},
	{desc("faas_gpu_residual_bytes", "Bytes that evicted models still have.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Residual) }},
	{desc("faas_gpu_reserved_bytes", "Bytes set aside for the engine builder.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Reserved) }},
	{desc("faas_gpu_overhead_bytes", "Bytes that the engine takes of the budget for all models together.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Overhead) }},
	{desc("faas_gpu_kept_bytes", "Bytes that the engine keeps for the next model.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Kept) }},
	{desc("faas_gpu_running_requests", "Requests that compute.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Running) }},
	{desc("faas_gpu_queued_requests", "Requests that wait for the device or for bytes.", deviceLabels...), func(d api.DeviceStatus) float64 { return float64(d.Queued) }},
}

var (
	poolBudgetDesc = desc("faas_gpu_host_pool_budget_bytes", "Bytes that staged models may have in host memory.")
	sharedDesc     = desc("faas_gpu_shared_memory_bytes", "Bytes of memory that functions share, as they count against shm_quota.")
	regionsDesc    = desc("faas_gpu_shared_memory_regions", "Regions of memory that functions share.")
	poolUsedDesc   = desc("faas_gpu_host_pool_used_bytes", "Bytes that staged models have in host memory.")
)

// Describe is that of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range perModel {
		ch <- m.desc
	}
	for _, m := range perFile {
		ch <- m.desc
	}
	for _, m := range perDevice {
		ch <- m.desc
	}
	for _, m := range perWork {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{failureDesc, pendingDesc, nameDesc, modelsDesc, poolBudgetDesc, poolUsedDesc, sharedDesc, regionsDesc} {
		ch <- d
	}
}

// Collect is that of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	seen := make(map[*stats]bool) // deployments of one function share them
	for _, e := range c.server.catalog.all() {
		if s := e.stats; !seen[s] {
			seen[s] = true
			collectModel(e, send)
		}
	}
	st := c.server.manager.Status()
	for digest, m := range st.Models {
		for _, metric := range perFile {
			send(metric.desc, prometheus.CounterValue, metric.value(m.Stats), digest)
		}
	}
	for _, d := range st.Devices {
		for _, metric := range perDevice {
			send(metric.desc, prometheus.GaugeValue, metric.value(d), d.ID)
		}
	}
	for _, w := range st.Work {
		for _, metric := range perWork {
			send(metric.desc, metric.kind, metric.value(w), w.Device)
		}
	}
	collectResidency(st, send)
	send(poolBudgetDesc, prometheus.GaugeValue, float64(st.Host.Budget))
	send(poolUsedDesc, prometheus.GaugeValue, float64(st.Host.Used))
	regions, bytes := c.server.regions.Usage()
	send(sharedDesc, prometheus.GaugeValue, float64(bytes))
	send(regionsDesc, prometheus.GaugeValue, float64(regions))
}

func collectModel(e *entry, send func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	s, labels := e.stats, []string{e.offer.Name, e.offer.Version, e.function.Name, e.function.Namespace}
	for _, metric := range perModel {
		send(metric.desc, prometheus.CounterValue, float64(metric.value(s)), labels...)
	}
	for reason, name := range reasonNames {
		send(failureDesc, prometheus.CounterValue, float64(s.failure[reason].Load()), append([]string{name}, labels...)...)
	}
	send(pendingDesc, prometheus.GaugeValue, float64(s.pending.Load()), labels...)
	send(nameDesc, prometheus.GaugeValue, 1, append([]string{e.offer.Digest}, labels...)...)
}
