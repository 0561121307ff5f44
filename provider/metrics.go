package provider

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// metrics are a provider's own, on a registry of its own.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	handler  http.Handler
}

func newMetrics(c *counts, d *dispatch.Dispatcher) *metrics {
	labels := []string{"code", "method", "path"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "provider_http_requests_total", Help: "Requests to the provider's own API.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "provider_http_request_duration_seconds", Help: "Time that requests to the provider's own API took.",
			Buckets: prometheus.DefBuckets,
		}, labels),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.seconds, newInvocationCollector(c, d),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

// instrument counts the requests to one route.
func (m *metrics) instrument(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, recorded := time.Now(), &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			code := strconv.Itoa(recorded.status)
			m.requests.WithLabelValues(code, r.Method, path).Inc()
			m.seconds.WithLabelValues(code, r.Method, path).Observe(time.Since(began).Seconds())
		}()
		next.ServeHTTP(recorded, r)
	})
}

// statusRecorder remembers the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// invocationCollector reads what the invocations left.
type invocationCollector struct {
	counts      *counts
	dispatcher  *dispatch.Dispatcher
	invocations *prometheus.Desc
	waiting     *prometheus.Desc
	retries     *prometheus.Desc
	wakes       *prometheus.Desc
	slo         *prometheus.Desc
}

func newInvocationCollector(c *counts, d *dispatch.Dispatcher) *invocationCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("faas_gpu_"+name, help, labels, nil)
	}
	return &invocationCollector{
		counts: c, dispatcher: d,
		invocations: desc("function_invocations_total", "Invocations by the status that was answered; 499 if the client left.", "function_name", "code"),
		waiting:     desc("queue_requests", "Requests that wait for a replica."),
		retries:     desc("dispatch_retries_total", "Requests sent to another replica because one could not be reached."),
		wakes:       desc("function_wakes_total", "Functions started by a request."),
		slo:         desc("slo_requests_total", "Requests with an objective for their latency, by what became of it; those that failed or whose client left have missed it.", "function", "outcome"),
	}
}

// Describe implements prometheus.Collector.
func (c *invocationCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.invocations
	ch <- c.waiting
	ch <- c.retries
	ch <- c.wakes
	ch <- c.slo
}

// Collect implements prometheus.Collector.
func (c *invocationCollector) Collect(ch chan<- prometheus.Metric) {
	c.counts.each(func(id runtime.ID, status int, n uint64) {
		ch <- prometheus.MustNewConstMetric(c.invocations, prometheus.CounterValue, float64(n), id.String(), strconv.Itoa(status))
	})
	c.counts.eachSLO(func(id runtime.ID, o sloOutcome, n uint64) {
		ch <- prometheus.MustNewConstMetric(c.slo, prometheus.CounterValue, float64(n), id.String(), o.String())
	})
	s := c.dispatcher.Stats()
	ch <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(s.Waiting))
	ch <- prometheus.MustNewConstMetric(c.retries, prometheus.CounterValue, float64(s.Retries))
	ch <- prometheus.MustNewConstMetric(c.wakes, prometheus.CounterValue, float64(s.Wakes))
}
