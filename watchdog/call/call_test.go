package call

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func TestCallTravelsInTheContext(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	for name, value := range map[string]string{
		"X-Call-Id": "id", "Traceparent": "00-1-2-01", "X-Faas-Gpu-Device": "gpu1", "X-Faas-Gpu-Slo": "80ms", "X-Faas-Gpu-Fallback": "wait",
	} {
		r.Header.Set(name, value)
	}
	c := From(With(r.Context(), New(r, nil, "/secrets")))
	if c == nil || c.ID != "id" || c.Traceparent != "00-1-2-01" || c.Device != "gpu1" || c.SLO != 80*time.Millisecond || c.Fallback != "wait" || c.SecretsDir != "/secrets" {
		t.Errorf("call is %+v", c)
	}
	for _, bad := range []string{"", "soon", "-1s"} {
		if got := slo(bad); got != 0 {
			t.Errorf("SLO %q is %v", bad, got)
		}
	}
	if From(context.Background()) != nil {
		t.Error("a context without a call has one")
	}
}

func TestWorstOutcomeAndSummedTimes(t *testing.T) {
	hit := api.Info{Cache: api.CacheHit, Device: "d1", Engine: "e1", Timing: api.Timing{Compute: time.Millisecond}}
	swap := api.Info{Cache: api.CacheSwap, Device: "d2", Engine: "e2", Timing: api.Timing{Swap: 2500 * time.Microsecond, Queue: 10 * time.Microsecond}}
	for name, order := range map[string][]api.Info{"worst last": {hit, swap, hit}, "worst first": {swap, hit, hit}} {
		c := &Call{}
		var wg sync.WaitGroup
		for _, o := range order {
			wg.Go(func() { c.Record(o) })
		}
		wg.Wait()
		h := http.Header{}
		c.WriteHeaders(h)
		if h.Get(api.HeaderCache) != "swap" || h.Get(api.HeaderDevice) != "d2" || h.Get(api.HeaderEngine) != "e2" {
			t.Errorf("%s: headers are %v", name, h)
		}
		if got := h.Get(api.HeaderTiming); got != "queue;dur=0.010, swap;dur=2.500, compute;dur=2.000" {
			t.Errorf("%s: timing is %s", name, got)
		}
	}
}

func TestHeadersWithoutInferenceAndOfTheHandler(t *testing.T) {
	h := http.Header{}
	(&Call{}).WriteHeaders(h)
	if len(h) != 0 {
		t.Errorf("headers are %v", h)
	}
	c := &Call{}
	c.Record(api.Info{Cache: api.CacheLoad})
	h.Set(api.HeaderCache, "mine")
	h.Set(api.HeaderTiming, "db;dur=1")
	c.WriteHeaders(h)
	if h.Get(api.HeaderCache) != "mine" || len(h.Values(api.HeaderTiming)) != 2 || h.Get(api.HeaderDevice) != "" {
		t.Errorf("headers are %v", h)
	}
}
