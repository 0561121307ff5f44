package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// requestMetrics are of-watchdog's three, and two that say how close a function
// is to its limit.
type requestMetrics struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	refused  prometheus.Counter
	inflight atomic.Int64
}

func newRequestMetrics(reg prometheus.Registerer, maxInflight int) *requestMetrics {
	m := &requestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests to the function.",
		}, []string{"code", "method"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time that requests took.", Buckets: prometheus.DefBuckets,
		}, []string{"code", "method"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "faas_gpu_function_refused_total", Help: "Requests refused because max_inflight others were running.",
		}),
	}
	reg.MustRegister(m.total, m.duration, m.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "http_requests_in_flight", Help: "Requests that are running.",
		}, func() float64 { return float64(m.inflight.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "faas_gpu_function_max_inflight", Help: "Most requests at once, 0 without a limit.",
		}, func() float64 { return float64(maxInflight) }))
	return m
}

func (m *requestMetrics) done(code int, method string, took time.Duration) {
	c, verb := strconv.Itoa(code), methodLabel(method)
	m.total.WithLabelValues(c, verb).Inc()
	m.duration.WithLabelValues(c, verb).Observe(took.Seconds())
}

// methodLabel keeps clients from making time series of their own.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch,
		http.MethodHead, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return strings.ToLower(method)
	}
	return "other"
}

// MetricsHandler serves a registry at /metrics.
func MetricsHandler(reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return mux
}
