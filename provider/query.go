package provider

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// query answers GET /api/v1/query as Prometheus would answer the one question
// that the gateway asks it: how often were the functions of a namespace invoked?
// So the gateway shows counts without a Prometheus.
func (p *Provider) query(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxSystemBody)
	asked := invocationsQuery.FindStringSubmatch(r.FormValue("query"))
	if asked == nil {
		body, _ := json.Marshal(queryAnswer{Status: "error", ErrorType: "bad_data", Error: "only sum(gateway_function_invocation_total" +
			`{function_name=~".*.NAMESPACE"}) by (function_name) is answered here; for more, let a Prometheus read /metrics`})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		w.Write(body)
		return
	}
	now := float64(time.Now().UnixMilli()) / 1000
	result := []sample{}
	for id := range p.cfg.Runtime.Snapshot().Functions {
		if id.Namespace == asked[1] {
			result = append(result, sample{
				Metric: map[string]string{"function_name": id.String()},
				Value:  [2]any{now, strconv.FormatFloat(p.counts.total(id), 'f', -1, 64)},
			})
		}
	}
	slices.SortFunc(result, func(a, b sample) int {
		return cmp.Compare(a.Metric["function_name"], b.Metric["function_name"])
	})
	writeJSON(w, queryAnswer{Status: "success", Data: &queryData{ResultType: "vector", Result: result}})
}

var invocationsQuery = regexp.MustCompile(
	`^\s*sum\(\s*gateway_function_invocation_total\{function_name=~"\.\*\.([-a-z0-9]*)"\}\s*\)\s*by\s*\(function_name\)\s*$`)

// queryAnswer is the envelope of Prometheus' HTTP API.
type queryAnswer struct {
	Status    string     `json:"status"`
	Data      *queryData `json:"data,omitempty"`
	ErrorType string     `json:"errorType,omitempty"`
	Error     string     `json:"error,omitempty"`
}

type queryData struct {
	ResultType string   `json:"resultType"`
	Result     []sample `json:"result"`
}

// sample is one series: its labels, a time in seconds, and a value as text.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}
