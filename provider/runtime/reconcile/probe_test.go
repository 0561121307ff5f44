package reconcile

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a watchdog: one answer for each probe, "status text", "timeout" or
// "refused".
type answers struct {
	t    *testing.T
	list []string
	ask  func(*http.Request)
}

type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.ask != nil {
		a.ask(r)
	}
	answer := "refused"
	if len(a.list) > 0 {
		answer, a.list = a.list[0], a.list[1:]
	}
	switch answer {
	case "timeout":
		return nil, timeoutError{errors.New("no answer")}
	case "refused":
		return nil, errors.New("refused")
	}
	status, text, _ := strings.Cut(answer, " ")
	code := map[string]int{"200": 200, "404": 404, "429": 429, "503": 503}[status]
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string
		last    health
		grace   bool
		want    health
	}{
		{"ready", []string{"200"}, health{}, false, health{ready: true}},
		{"at its limit of requests", []string{"429 busy"}, health{}, false, health{ready: true}},
		{"not ready", []string{"503 model m\nis missing\n"}, health{ready: true}, false, health{reason: "GET /_/ready answers 503 model m is missing"}},
		{"old watchdog", []string{"404", "200"}, health{}, false, health{ready: true}},
		{"old watchdog, not healthy", []string{"404", "503"}, health{}, false, health{reason: "GET /_/health answers 503"}},
		{"starting", []string{"refused"}, health{}, true, health{}},
		{"starting, after it had answered", []string{"refused"}, health{reason: "x"}, true, health{reason: "x"}},
		{"refuses for long", []string{"refused"}, health{}, false, health{reason: `GET /_/ready: Get "http://replica/_/ready": refused`}},
		{"was ready, refuses", []string{"refused"}, health{ready: true}, false, health{reason: `GET /_/ready: Get "http://replica/_/ready": refused`}},
		{"was ready, misses one probe", []string{"timeout"}, health{ready: true}, false, health{ready: true}},
	} {
		p := &prober{client: &http.Client{Transport: &answers{t: t, list: c.answers}}, url: "http://replica", path: "/_/ready"}
		if got := p.health(t.Context(), c.last, c.grace); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	p := &prober{client: &http.Client{Transport: &answers{t: t, list: []string{"timeout", "timeout", "200", "timeout", "timeout", "timeout"}}}, url: "http://replica", path: "/_/ready"}
	for i, want := range []bool{true, true, true, true, true, false} {
		if got := p.health(t.Context(), health{ready: true}, false); got.ready != want {
			t.Errorf("probe %d: %+v, want ready %v", i, got, want)
		}
	}
}

// TestWatch: the first answers are asked for quickly, later ones seldom, and only
// changes are reported.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		a := &answers{t: t, list: []string{"refused", "refused", "503 no", "503 no", "200", "200", "200", "503 no", "200"}}
		a.ask = func(r *http.Request) {
			if r.Header.Get("User-Agent") != probeAgent {
				t.Errorf("User-Agent %q", r.Header.Get("User-Agent"))
			}
			at = append(at, time.Since(began))
			if len(a.list) == 1 {
				cancel()
			}
		}
		var reports []health
		(&prober{client: &http.Client{Transport: a}, url: "http://replica", path: "/_/ready"}).watch(ctx, func(h health) { reports = append(reports, h) })
		no := health{reason: "GET /_/ready answers 503 no"}
		if want := []health{no, {ready: true}, no}; len(reports) != 3 || reports[0] != want[0] || reports[1] != want[1] || reports[2] != want[2] {
			t.Errorf("reports %+v", reports)
		}
		if at[4] > time.Second || at[5]-at[4] != probeReady || at[8]-at[7] != probeFirst {
			t.Errorf("probes at %v", at)
		}
	})
}
