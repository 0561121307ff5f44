package cachemgr

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// mixSize is the size of the i-th model of a mix of three.
func mixSize(i int) int64 { return []int64{24 << 20, 14 << 20, 9 << 20}[i%3] }

// mixBytes is what so many of them take.
func mixBytes(models int) (n int64) {
	for i := range models {
		n += mixSize(i)
	}
	return n
}

// countingOrder counts the keys that were looked at to find victims.
type countingOrder struct {
	policy.Order
	seen *int
}

func (o countingOrder) Victims() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range o.Order.Victims() {
			*o.seen++
			if !yield(key) {
				return
			}
		}
	}
}

// TestWireIsBusyWithAMix: eight clients ask for models of three sizes at random, of
// which a quarter fits, on a device that takes as long to evict a model as to copy
// one. The link copies almost all the time, and few models are looked at for each
// swap, however many there are.
func TestWireIsBusyWithAMix(t *testing.T) {
	const models, clients, rounds = 600, 8, 200
	looks := 0
	inBubble(t, func(r *rig) {
		r.engine.After = nil // the books would be checked too often
		w := newWire(r.engine, 0, 250*time.Microsecond)
		w.mapping, w.evict = 100*time.Microsecond, 300*time.Microsecond
		copies := map[string]time.Duration{}
		w.copies = func(model string) time.Duration { return copies[model] }
		for i := range models {
			name := fmt.Sprint(i)
			copies[name] = time.Duration(mixSize(i)) * time.Second / 55e9
			r.add(name, mixSize(i))
			if _, err := r.infer(r.Context(), name); err != nil { // a first load is no transfer
				r.Fatal(err)
			}
		}
		w.reset()
		looks = 0
		began, seed := time.Now(), rand.Uint64()
		r.Logf("seed %d", seed)
		var mu sync.Mutex
		var wg sync.WaitGroup
		swaps := 0
		for c := range clients {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(c)))
				for range rounds {
					res, err := r.infer(r.Context(), fmt.Sprint(rng.IntN(models)))
					if err != nil {
						r.Error(err)
					}
					mu.Lock()
					if res.Outcome == api.CacheSwap {
						swaps++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		share := float64(w.busy) / float64(time.Since(began))
		seen := float64(looks) / float64(swaps)
		r.Logf("the link was busy %.1f %% of the time, with at most %d models on their way; %.1f were looked at for each of %d swaps",
			100*share, w.most, seen, swaps)
		if share < 0.9 || w.most > 2 || seen > 16 {
			r.Error("want 90 %, 2 and at most 16")
		}
	}, func(c *Config, _ *testengine.Engine) {
		c.HostBudget, c.Concurrency, c.Queue = mixBytes(models), 2, nil
		c.DeviceBudget = func(engine.Device) int64 { return mixBytes(models) / 4 }
		c.Policy = func() policy.Order { return countingOrder{policy.NewGDSF(), &looks} }
	})
}

// BenchmarkSwapsOfAMix is what the manager itself takes for a request where three in
// four are swaps: of few models, and of many.
func BenchmarkSwapsOfAMix(b *testing.B) {
	for _, models := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(models), func(b *testing.B) {
			e := testengine.New(b.Errorf)
			e.List[0].FreeBytes = mixBytes(models)
			m, err := New(Config{
				Engine: e, HostBudget: mixBytes(models), Concurrency: 2,
				DeviceBudget: func(engine.Device) int64 { return mixBytes(models) / 4 },
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := m.Close(b.Context()); err != nil {
					b.Error(err)
				}
			}()
			ask := func(name string) {
				in, out := testTensors()
				if _, err := m.Infer(b.Context(), Request{Digest: name, Function: "f", In: in, Out: out}); err != nil {
					b.Error(err)
				}
			}
			names := make([]string, models)
			for i := range models {
				name, size := fmt.Sprint(i), mixSize(i)
				names[i] = name
				e.Define(name, testengine.Model{Cost: engine.Cost{Peak: size, Resident: size, Host: size}})
				if err := m.Add(Model{Digest: name, Name: name, Path: name, Format: engine.FormatONNX, Size: size}); err != nil {
					b.Fatal(err)
				}
				ask(name)
			}
			b.ReportAllocs()
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					ask(names[rand.IntN(models)])
				}
			})
		})
	}
}
