package attach

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	inferences *prometheus.CounterVec
	offers     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		inferences: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "faas_gpu_function_inferences_total",
			Help: "Inferences of this replica, by what they found: hit, swap, load, fallback, or error.",
		}, []string{"model", "cache"}),
		offers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "faas_gpu_function_offers_total",
			Help: "Times that the models were offered to the cache manager: ok or failed.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.inferences, m.offers)
	return m
}

func (m *metrics) inferred(model, cache string) {
	if cache == "" {
		cache = "unknown"
	}
	m.inferences.WithLabelValues(model, cache).Inc()
}

func (m *metrics) offered(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.offers.WithLabelValues(result).Inc()
}
