package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// pick is one request of a mix.
type pick struct {
	function *function
	sample   *sample
}

// newMix draws requests for functions, where the i-th is asked for in proportion
// to 1/i, as invocations of real installations are skewed. Equal seeds give
// equal mixes.
func newMix(fns []*function, n, seed int) []pick {
	var total float64
	for i := range fns {
		total += 1 / float64(i+1)
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	mix := make([]pick, n)
	for i := range mix {
		at, rank := rng.Float64()*total, 0
		for ; rank < len(fns)-1 && at >= 1/float64(rank+1); rank++ {
			at -= 1 / float64(rank+1)
		}
		f := fns[rank]
		mix[i] = pick{f, &f.cases[rng.IntN(len(f.cases))]}
	}
	return mix
}

// tally collects answers. It is used by many goroutines.
type tally struct {
	mu        sync.Mutex
	requests  int
	wrong     int
	latencies map[*function]map[string][]float64 // milliseconds by cache outcome
}

func newTally() *tally {
	return &tally{latencies: map[*function]map[string][]float64{}}
}

// verify counts an answer to a request, and whether it is right.
func (t *tally) verify(f *function, s *sample, answer []byte) {
	got, err := f.raw(answer)
	right := err == nil && bytes.Equal(got, s.want)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if !right {
		t.wrong++
	}
}

// add verifies an answer and keeps how long it took.
func (t *tally) add(f *function, s *sample, r reply) {
	t.verify(f, s, r.body)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.latencies[f] == nil {
		t.latencies[f] = map[string][]float64{}
	}
	t.latencies[f][r.cache] = append(t.latencies[f][r.cache], milliseconds(r.latency))
}

// of is the latencies of a function with an outcome; of all functions if f is
// nil.
func (t *tally) of(f *function, cache string) []float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []float64
	for each, byCache := range t.latencies {
		if f == nil || each == f {
			out = append(out, byCache[cache]...)
		}
	}
	return out
}

// send sends a mix by a number of clients, each one request after the other.
func send(ctx context.Context, g *gateway, mix []pick, clients int, t *tally) error {
	work := make(chan pick)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(work)
		for _, p := range mix {
			select {
			case work <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range clients {
		group.Go(func() error {
			for p := range work {
				r, err := g.invoke(ctx, p.function.name, p.sample.body)
				if err != nil {
					return err
				}
				if !known(r.cache) {
					return fmt.Errorf("%s answers with %s: %q", p.function.name, api.HeaderCache, r.cache)
				}
				t.add(p.function, p.sample, r)
			}
			return nil
		})
	}
	return group.Wait()
}

// known reports whether an answer says what happened to the model.
func known(cache string) bool {
	switch cache {
	case api.CacheHit, api.CacheSwap, api.CacheLoad:
		return true
	}
	return false
}
