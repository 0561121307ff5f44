package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// evict replays references to models against each order of eviction, and compares
// the share of bytes that were found with what could be had.
func evict(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("evict", flag.ContinueOnError)
	opt := evictOptions{}
	flags.IntVar(&opt.models, "models", 10000, "models")
	flags.IntVar(&opt.references, "references", 400000, "references; the first half only warms the pool")
	flags.Float64Var(&opt.room, "room", 0.1, "share of all bytes that the pool has room for")
	flags.Float64Var(&opt.skew, "skew", 0.9, "popularity is 1/rank to the power of this")
	flags.Uint64Var(&opt.seed, "seed", 1, "seed of models and references")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if opt.models < 2 || opt.references < 2 || !(opt.room > 0 && opt.room < 1) || !(opt.skew >= 0) {
		return nil, fmt.Errorf("want models and references of at least 2, room between 0 and 1, skew of at least 0; have %+v", opt)
	}
	figures := map[string]any{
		"benchmark": "evict", "go": runtime.Version(), "models": opt.models, "references": opt.references,
		"room": opt.room, "skew": opt.skew, "seed": opt.seed,
	}
	best := 0.0
	for _, kind := range []string{"independent", "drifting", "scanned"} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := opt.trace(kind)
		orders := map[string]policy.Order{"lru": policy.NewLRU(), "twolists": policy.NewTwoLists(), "gdsf": policy.NewGDSF()}
		result := map[string]any{}
		if kind == "independent" {
			orders["known"] = newKnown(t.popularity)
		}
		for name, order := range orders {
			ratio, p99 := t.replay(order)
			result[name] = to4(ratio)
			if name != "known" {
				result[name+"_decision_p99_ns"] = p99
			}
		}
		result["belady"], result["bound"] = to4(t.belady()), to4(t.bound())
		if kind == "independent" {
			known := result["known"].(float64)
			for _, name := range []string{"lru", "twolists", "gdsf"} {
				best = max(best, result[name].(float64)/known)
			}
		}
		fmt.Printf("%-11s byte hit ratio %v\n", kind, result)
		figures[kind] = result
	}
	figures["best_of_known"] = to4(best)
	return figures, nil
}

type evictOptions struct {
	models, references int
	room, skew         float64
	seed               uint64
}

// evictTrace is a list of references to models.
type evictTrace struct {
	keys       []string
	sizes      []int64
	popularity map[string]float64
	references []int // models
	capacity   int64
}

// trace makes references up. independent: each is drawn for itself. drifting: the
// popularities wander from model to model, so that after the trace the most
// popular tenth is another one. scanned: now and then all models of a stretch are
// used once, one after the other.
func (o evictOptions) trace(kind string) *evictTrace {
	rng := rand.New(rand.NewPCG(o.seed, 1))
	t := &evictTrace{popularity: map[string]float64{}}
	total := int64(0)
	cumulative, sum := make([]float64, o.models), 0.0
	for i := range o.models {
		// Half of the models are between 35 and 140 MB, a few are of gigabytes.
		size := int64(70e6 * math.Exp(rng.NormFloat64()))
		p := math.Pow(float64(i+1), -o.skew)
		sum += p
		cumulative[i] = sum
		key := strconv.Itoa(i)
		t.keys, t.sizes, t.popularity[key] = append(t.keys, key), append(t.sizes, size), p
		total += size
	}
	t.capacity = max(slices.Max(t.sizes), int64(o.room*float64(total)))
	for len(t.references) < o.references {
		if kind == "scanned" && rng.IntN(5000) == 0 {
			first := rng.IntN(o.models)
			for i := range min(o.models/10, o.references-len(t.references)) {
				t.references = append(t.references, (first+i)%o.models)
			}
			continue
		}
		m, _ := slices.BinarySearch(cumulative, rng.Float64()*sum)
		if kind == "drifting" {
			m = (m + len(t.references)*o.models/10/o.references) % o.models
		}
		t.references = append(t.references, m)
	}
	return t
}

// entry: to bring a model back takes a millisecond and its way over the link.
func (t *evictTrace) entry(m int) policy.Entry {
	const bytesPerSecond = 25e9
	swap := time.Millisecond + time.Duration(float64(t.sizes[m])/bytesPerSecond*1e9)
	return policy.Entry{Size: t.sizes[m], Cost: swap, Spare: swap < 5*time.Millisecond}
}

// replay returns the share of bytes that were in the pool, and what one decision
// cost: a use, or an eviction of as many as needed and what comes instead.
func (t *evictTrace) replay(order policy.Order) (ratio float64, p99 int64) {
	inside := make([]bool, len(t.keys))
	index := make(map[string]int, len(t.keys))
	for i, key := range t.keys {
		index[key] = i
	}
	took := make([]int64, 0, len(t.references))
	var victims []string
	used, hits, all := int64(0), int64(0), int64(0)
	for i, m := range t.references {
		warm := i >= len(t.references)/2
		if warm {
			all += t.sizes[m]
		}
		began := time.Now()
		if inside[m] {
			if warm {
				hits += t.sizes[m]
			}
			order.Touch(t.keys[m])
			took = append(took, int64(time.Since(began)))
			continue
		}
		victims = victims[:0]
		for key := range order.Victims() {
			if used+t.sizes[m] <= t.capacity {
				break
			}
			v := index[key]
			inside[v] = false
			used -= t.sizes[v]
			victims = append(victims, key)
		}
		for _, key := range victims {
			order.Remove(key)
		}
		order.Add(t.keys[m], t.entry(m))
		took = append(took, int64(time.Since(began))/int64(1+len(victims)))
		inside[m] = true
		used += t.sizes[m]
	}
	slices.Sort(took)
	return float64(hits) / float64(all), took[len(took)*99/100]
}
