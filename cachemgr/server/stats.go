package server

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Reasons for which a request failed, as Triton's metrics name them.
const (
	reasonRejected = iota // not run: queue full, no memory, shutting down
	reasonCanceled        // the caller left, or its deadline passed
	reasonBackend         // the model or the engine failed
	reasonOther           // the request was wrong
	reasons
)

var reasonNames = [reasons]string{"REJECTED", "CANCELED", "BACKEND", "OTHER"}

// stats counts the requests for one version of one model of one function, over
// all its deployments. Durations are totals in nanoseconds.
type stats struct {
	success  atomic.Int64
	failure  [reasons]atomic.Int64
	rows     atomic.Int64 // inferences: requests times their batch size
	pending  atomic.Int64 // between arrival and answer
	lastUnix atomic.Int64 // milliseconds

	request, queue, input, compute, output, swap, failed duration

	hits, swaps, loads, fallbacks atomic.Int64

	executions      atomic.Int64 // runs of the model: a batch of requests is one
	asked, attained atomic.Int64 // requests with an objective, those answered in time
}

// duration is a total of times.
type duration struct{ ns atomic.Int64 }

func (d *duration) add(t time.Duration) { d.ns.Add(int64(t)) }
func (d *duration) microseconds() int64 { return d.ns.Load() / 1000 }

// timing is where the time of one request went.
type timing struct {
	total, queue, swap, input, compute, output time.Duration
}

// succeeded counts one request that was answered.
func (s *stats) succeeded(now time.Time, rows int64, outcome string, t timing) {
	s.success.Add(1)
	s.rows.Add(rows)
	s.lastUnix.Store(now.UnixMilli())
	s.request.add(t.total)
	s.queue.add(t.queue)
	s.swap.add(t.swap)
	s.input.add(t.input)
	s.compute.add(t.compute)
	s.output.add(t.output)
	switch outcome {
	case api.CacheHit:
		s.hits.Add(1)
	case api.CacheSwap:
		s.swaps.Add(1)
	case api.CacheLoad:
		s.loads.Add(1)
	case api.CacheFallback:
		s.fallbacks.Add(1)
	}
}

// ended counts a request with an objective, whatever became of it.
func (s *stats) ended(slo, took time.Duration, err error) {
	if slo == 0 {
		return
	}
	s.asked.Add(1)
	if err == nil && took <= slo {
		s.attained.Add(1)
	}
}

// failedWith counts one request that got an error.
func (s *stats) failedWith(err error, took time.Duration) {
	s.failure[failureReason(err)].Add(1)
	s.failed.add(took)
}

func (s *stats) failures() int64 {
	var n int64
	for i := range s.failure {
		n += s.failure[i].Load()
	}
	return n
}

func failureReason(err error) int {
	switch status := httpStatus(err); {
	case status == statusClientGone || status == 504:
		return reasonCanceled
	case status == 503 && !errors.Is(err, cachemgr.ErrFailed):
		return reasonRejected
	case status >= 500:
		return reasonBackend
	}
	return reasonOther
}
