package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkDecision10kWaiting: one arrival, one decision and one end, with 10,000
// requests of 2,000 functions waiting for 5,000 models.
func BenchmarkDecision10kWaiting(b *testing.B) {
	for _, p := range policies {
		b.Run(p.name, func(b *testing.B) {
			book, rng := NewBook(0.98), rand.New(rand.NewPCG(1, 1))
			q, now := New(p.make(book), 256), time.Duration(0)
			groups, requests, names := make([]Group, 5000), make([]Request, 10000), make([]string, 2000)
			for i := range groups {
				groups[i] = NewGroup(i)
				q.SetOpen(&groups[i], true)
			}
			for i := range names {
				names[i] = fmt.Sprint(i)
			}
			push := func(r *Request) {
				f := book.Function(now, names[rng.IntN(len(names))])
				f.Count(now, rng.IntN(30) > 0)
				*r = Request{Number: q.pushed, Arrived: now, Deadline: now + time.Duration(rng.IntN(2000))*ms, Function: f, Work: 5 * ms}
				q.Push(now, &groups[rng.IntN(len(groups))], r)
			}
			for i := range requests {
				push(&requests[i])
			}
			took := make([]time.Duration, 0, b.N+1)
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				now += 100 * time.Microsecond
				push(q.Next(now))
				if len(took) < cap(took) {
					took = append(took, time.Since(began))
				}
			}
			slices.Sort(took)
			if len(took) > 0 {
				b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			}
		})
	}
}
