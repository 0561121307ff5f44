package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/sim"
)

// cell is one workload under one policy.
type cell struct {
	policy    locality.Policy
	seed      uint64
	workload  sim.Workload
	latencies []float64 // ms, sorted; of the requests that were answered
	outcomes  map[string]int
	wrong     int // outputs
	failed    int // requests without an answer, or one that is no output
	reason    string
	late      float64              // ms that requests were sent late at the 99th percentile
	busy      float64              // share of the devices' time that answers say was computing or swapping
	costs     map[string]*measures // of each kind of models
	predicted sim.Result           // with what was measured before
	simulated sim.Result           // with what was measured meanwhile
}

func (c *cell) mean() float64 { return average1(c.latencies) }
func (c *cell) p99() float64  { return sim.Quantile(c.latencies, 0.99) }

func (c *cell) String() string {
	return fmt.Sprintf("seed %d, %-7s %5d requests, mean %8.2f ms, p99 %8.2f ms, miss %.3f, busy %.3f, wrong %d, failed %d %s",
		c.seed, c.policy, len(c.workload.Requests), c.mean(), c.p99(), c.missRatio(), c.busy, c.wrong, c.failed, c.reason)
}

func (c *cell) missRatio() float64 {
	return 1 - float64(c.outcomes[api.CacheHit])/float64(max(1, len(c.workload.Requests)))
}

// cell makes the provider use a policy, brings caches into a state that does not
// depend on what was measured before, and sends the workload.
func (r *replayBench) cell(ctx context.Context, policy locality.Policy, seed uint64, w sim.Workload) (*cell, error) {
	if len(w.Requests) == 0 {
		return nil, fmt.Errorf("no requests in %v at %.0f a minute: want a larger -length", r.generator.Length, r.rate)
	}
	if err := r.use(ctx, policy); err != nil {
		return nil, err
	}
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	c := &cell{policy: policy, seed: seed, workload: w, outcomes: map[string]int{}, costs: map[string]*measures{}}
	answers := r.send(ctx, w)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, a := range answers {
		if s := r.subjects[w.Requests[i].Function]; a.err == nil {
			c.costs[s.kind] = c.costs[s.kind].add(a)
		}
	}
	c.count(answers, r.devices)
	return c, nil
}

// warm asks every function once, the most popular last.
func (r *replayBench) warm(ctx context.Context) error {
	client := replayClient()
	defer client.CloseIdleConnections()
	for _, s := range slices.Backward(r.subjects) {
		if a := s.ask(ctx, client, r.cluster.URL); a.err != nil || a.wrong {
			return fmt.Errorf("%s: a wrong output, or %w", s.name, a.err)
		}
	}
	return nil
}

// answer to one request of a workload.
type answer struct {
	took   time.Duration // since it was meant to be sent
	late   time.Duration // that it was sent
	cache  string
	timing api.Timing
	body   []byte // where nobody knows yet which output is right
	wrong  bool
	err    error
}

// send sends the requests when they are due, whatever became of those before, and
// waits for all answers.
func (r *replayBench) send(ctx context.Context, w sim.Workload) []answer {
	answers := make([]answer, len(w.Requests))
	client := replayClient()
	defer client.CloseIdleConnections()
	var waiting sync.WaitGroup
	start := time.Now()
	for i, q := range w.Requests {
		due := start.Add(q.At)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			waiting.Wait()
			return answers
		}
		waiting.Go(func() {
			late := time.Since(due)
			a := r.subjects[q.Function].ask(ctx, client, r.cluster.URL)
			a.took, a.late = time.Since(due), late
			answers[i] = a
		})
	}
	waiting.Wait()
	return answers
}

// replayClient keeps a connection for each request that is on its way.
func replayClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}, Timeout: 2 * time.Minute}
}

// ask sends one request and judges the answer.
func (s *replaySubject) ask(ctx context.Context, client *http.Client, url string) (a answer) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/function/"+s.name+"."+lab.Namespace, bytes.NewReader(s.data))
	if err != nil {
		return answer{err: err}
	}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	a.took = time.Since(began)
	switch {
	case err != nil:
		return answer{err: err}
	case res.StatusCode != http.StatusOK:
		return answer{err: fmt.Errorf("status %d: %.200s", res.StatusCode, bytes.TrimSpace(body))}
	}
	a.cache, a.timing = res.Header.Get(api.HeaderCache), api.ParseTiming(res.Header.Get(api.HeaderTiming))
	if s.want == nil {
		a.body = body
		return a
	}
	a.wrong = !bytes.Equal(body, s.want)
	return a
}

func (c *cell) count(answers []answer, devices int) {
	var worked time.Duration
	var late []float64
	for _, a := range answers {
		if a.err != nil {
			c.failed++
			c.reason = a.err.Error()
			continue
		}
		if a.wrong {
			c.wrong++
		}
		c.outcomes[a.cache]++
		c.latencies = append(c.latencies, inMillis(a.took))
		late = append(late, inMillis(a.late))
		worked += a.timing.Swap + a.timing.Compute
	}
	slices.Sort(c.latencies)
	slices.Sort(late)
	c.late = sim.Quantile(late, 0.99)
	// The last answer is the end; nearly all of the time is before the last request.
	length := c.workload.Requests[len(c.workload.Requests)-1].At
	c.busy = worked.Seconds() / length.Seconds() / float64(devices)
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func average1(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(max(1, len(xs)))
}
