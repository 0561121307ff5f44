package provider

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
)

// TestAttainment: every request that was sent with an objective counts, and shows
// in the metrics and in the report.
func TestAttainment(t *testing.T) {
	b := start(t, newFakeRuntime(replica(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(30 * time.Millisecond)
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		}
	})))
	b.deployed(t, func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{"max_inflight": "1"} }, 1)
	ask := func(path, slo string, want int) *http.Response {
		t.Helper()
		r := b.request(t, "GET", "/function/digits"+path, nil)
		if slo != "" {
			r.Header.Set("X-Faas-Gpu-Slo", slo)
		}
		resp, body := b.ask(t, r)
		if resp.StatusCode != want {
			t.Errorf("%s within %s: got %d %s, want %d", path, slo, resp.StatusCode, body, want)
		}
		return resp
	}
	if strings.Contains(b.metricsPage(t), "slo_requests") {
		t.Error("there are counts before anybody had an objective")
	}
	ask("/", "", 200)
	ask("/", "10s", 200)
	ask("/slow", "20ms", 200) // late
	ask("/bad", "10s", 500)
	for _, bad := range []string{"fast", "0s", "-1s", "80"} {
		ask("/", bad, 400)
	}
	page := b.metricsPage(t)
	for _, line := range []string{
		`faas_gpu_slo_requests_total{function="digits.openfaas-fn",outcome="met"} 1`,
		`faas_gpu_slo_requests_total{function="digits.openfaas-fn",outcome="missed"} 2`,
		`faas_gpu_slo_requests_total{function="digits.openfaas-fn",outcome="refused"} 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no %s in\n%s", line, page)
		}
	}
	f := b.report().Functions[0]
	if f.SLO == nil || f.SLO.Sent != 3 || f.SLO.Met != 1 || f.SLO.Missed != 2 || *f.SLO.Attainment != 1.0/3 {
		t.Errorf("reported %+v", f.SLO)
	}
	if got := f.SLO.String(); got != "33.3% of 3" {
		t.Errorf("shown as %q", got)
	}
}

func (b *bench) metricsPage(t *testing.T) string {
	t.Helper()
	resp, err := b.client.Get(b.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestRefusedForTheObjective: who asked for it gets a 503 as soon as the objective
// is lost, and it counts as refused.
func TestRefusedForTheObjective(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 2)
	b := start(t, newFakeRuntime(replica(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })))
	b.deployed(t, func(d *types.FunctionDeployment) {
		d.EnvVars = map[string]string{"max_inflight": "1"}
		d.Annotations = &map[string]string{"com.openfaas.gpu.slo": "50ms", "com.openfaas.gpu.slo.refuse": "true"}
	}, 1)
	first := make(chan int)
	go func() {
		resp, err := b.client.Get(b.url + "/function/digits")
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-arrived
	resp, body := b.ask(t, b.request(t, "GET", "/function/digits", nil))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !strings.Contains(body, "wanted within 50ms") {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	close(release)
	if status := <-first; status != 200 {
		t.Errorf("the one before got %d", status)
	}
	if s := b.report().Functions[0].SLO; s.Refused != 1 || s.Sent != 2 {
		t.Errorf("reported %+v", s)
	}
}

func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1100 * time.Millisecond: "2", time.Minute: "60"} {
		if got := retryAfter(&dispatch.TooLateError{After: after}); got != want {
			t.Errorf("late by %v: %q, want %q", after, got, want)
		}
	}
	if got := retryAfter(dispatch.ErrTimeout); got != "1" {
		t.Errorf("got %q", got)
	}
}

// TestAttainmentForgets holds the window to a list of everything that happened.
func TestAttainmentForgets(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	type happened struct {
		at time.Time
		o  sloOutcome
	}
	var all []happened
	var a attainment
	now := time.Now()
	for range 3000 {
		now = now.Add(time.Duration(rng.ExpFloat64() * float64(time.Second)))
		if rng.IntN(500) == 0 {
			now = now.Add(time.Duration(rng.IntN(20)) * time.Minute)
		}
		o := sloOutcome(rng.IntN(int(sloOutcomes)))
		a.add(now, o)
		all = append(all, happened{now, o})
		var want [sloOutcomes]uint64
		for _, h := range all {
			if h.at.Truncate(sloStep).After(now.Truncate(sloStep).Add(-sloWindow)) {
				want[h.o]++
			}
		}
		if got := a.lately(now); got != want {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
	}
	if got := a.lately(now.Add(sloWindow)); got != ([sloOutcomes]uint64{}) {
		t.Errorf("after the window: %v", got)
	}
	if a.total[sloMet]+a.total[sloMissed]+a.total[sloRefused] != 3000 {
		t.Errorf("in total: %v", a.total)
	}
}

func TestExplainAsText(t *testing.T) {
	b := digits(t, func(http.ResponseWriter, *http.Request) {})
	text := func(query string, want int) string {
		t.Helper()
		r := b.request(t, "GET", "/system/gpu/explain?"+query, nil)
		r.Header.Set("Accept", "text/plain")
		resp, body := b.ask(t, r)
		if resp.StatusCode != want {
			t.Errorf("%s: got %d %s", query, resp.StatusCode, body)
		}
		return body
	}
	for _, query := range []string{"function=digits", "function=digits.openfaas-fn", "function=digits&namespace=openfaas-fn&model=m&version=1&slo=80ms"} {
		body := text(query, 200)
		for _, words := range []string{"function  digits.openfaas-fn", "goes to   replica r0", "because   it is free", "REPLICA", "another replica should go to no node"} {
			if !strings.Contains(body, words) {
				t.Errorf("%s: no %q in\n%s", query, words, body)
			}
		}
	}
	text("function=digits&slo=soon", 400)
	text("function=other", 404)
	text("function=digits&namespace=lab", 404)
	text("function=..", 400)
}
