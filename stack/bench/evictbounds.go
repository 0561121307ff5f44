package main

import (
	"container/heap"
	"iter"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
)

// nextUses says for each reference when its model is used next, len(references)
// for never.
func (t *evictTrace) nextUses() []int {
	next := make([]int, len(t.references))
	last := make([]int, len(t.keys))
	for m := range last {
		last[m] = len(t.references)
	}
	for i, m := range slices.Backward(t.references) {
		next[i] = last[m]
		last[m] = i
	}
	return next
}

// belady lets the model go that will not be used for longest. With models of
// equal size nothing can be better; with different ones it is only good.
func (t *evictTrace) belady() float64 {
	next := t.nextUses()
	inside := make([]int, len(t.keys)) // its next use, 0 if it is not inside
	far := &farthest{}
	used, hits, all := int64(0), int64(0), int64(0)
	for i, m := range t.references {
		warm := i >= len(t.references)/2
		if warm {
			all += t.sizes[m]
		}
		if inside[m] == 0 {
			for used+t.sizes[m] > t.capacity {
				v := heap.Pop(far).(use)
				if inside[v.model] == v.at { // else it was used since
					inside[v.model] = 0
					used -= t.sizes[v.model]
				}
			}
			used += t.sizes[m]
		} else if warm {
			hits += t.sizes[m]
		}
		inside[m] = next[i]
		heap.Push(far, use{m, next[i]})
	}
	return float64(hits) / float64(all)
}

type use struct{ model, at int }

// farthest has the latest use on top. It implements heap.Interface.
type farthest []use

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// Push implements heap.Interface.
func (f *farthest) Push(x any) { *f = append(*f, x.(use)) }

// Pop implements heap.Interface.
func (f *farthest) Pop() any {
	last := len(*f) - 1
	u := (*f)[last]
	*f = (*f)[:last]
	return u
}

// bound is more than any order can reach. To find a model again its bytes have to
// stay from one use to the next. Here the pool may hold more than it has room for
// at one time if it holds less at another; then the shortest stays are the best.
func (t *evictTrace) bound() float64 {
	type stay struct {
		length int
		bytes  int64
	}
	var stays []stay
	half, all := len(t.references)/2, int64(0)
	next := t.nextUses()
	for i, m := range t.references {
		if i >= half {
			all += t.sizes[m]
		}
		if end := next[i]; end < len(t.references) && end >= half {
			// What was before the second half was not counted, so it costs nothing.
			stays = append(stays, stay{end - max(i, half), t.sizes[m]})
		}
	}
	slices.SortFunc(stays, func(a, b stay) int { return a.length - b.length })
	left := float64(t.capacity) * float64(len(t.references)-half)
	hits := 0.0
	for _, s := range stays {
		need := float64(s.length) * float64(s.bytes)
		if need > left {
			hits += float64(s.bytes) * left / need
			break
		}
		left -= need
		hits += float64(s.bytes)
	}
	return hits / float64(all)
}

// known lets the model go that is really the least popular: it is what an order
// could at best learn from independent references.
type known struct {
	popularity map[string]float64
	keys       []string // the least popular on top
}

var _ policy.Order = (*known)(nil)

func newKnown(popularity map[string]float64) *known { return &known{popularity: popularity} }

// Add implements policy.Order.
func (k *known) Add(key string, _ policy.Entry) { heap.Push(k, key) }

// Update implements policy.Order.
func (k *known) Update(string, policy.Entry) {}

// Touch implements policy.Order.
func (k *known) Touch(string) {}

// Remove implements policy.Order. Only the least popular are ever removed.
func (k *known) Remove(key string) {
	heap.Remove(k, slices.Index(k.keys, key))
}

// Victims implements policy.Order.
func (k *known) Victims() iter.Seq[string] {
	return func(yield func(string) bool) {
		rest := &known{popularity: k.popularity, keys: slices.Clone(k.keys)}
		for len(rest.keys) > 0 && yield(heap.Pop(rest).(string)) {
		}
	}
}

// Len implements heap.Interface, as do the following.
func (k *known) Len() int           { return len(k.keys) }
func (k *known) Less(i, j int) bool { return k.popularity[k.keys[i]] < k.popularity[k.keys[j]] }
func (k *known) Swap(i, j int)      { k.keys[i], k.keys[j] = k.keys[j], k.keys[i] }
func (k *known) Push(x any)         { k.keys = append(k.keys, x.(string)) }
func (k *known) Pop() any {
	last := len(k.keys) - 1
	key := k.keys[last]
	k.keys = k.keys[:last]
	return key
}
