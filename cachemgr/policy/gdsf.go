package policy

import (
	"cmp"
	"iter"
	"math"
	"strings"
)

// GDSF is GreedyDual-Size-Frequency: it lets the key go whose bytes save the
// least time. A key is worth
//
//	log2(frequency * cost / size) + clock
//
// when it is used. The clock goes on with every use of any key, by one in a half-
// life: a use counts half as much after it, so keys that are no longer used are
// overtaken in time by those that are.
//
// This is not quite the published order, whose clock is the worth of the latest
// victim, and which forgets the frequency of a key that leaves. Under steady
// popularity that one keeps far fewer of the right keys (`go run ./stack/bench
// evict` measures it). The frequencies of those that have left are forgotten in
// the order in which they left.
type GDSF struct {
	clock    float64 // half-lives
	keys     map[string]*gdsfKey
	heap     []*gdsfKey // keys in the pool, the first to leave on top
	past     pastKeys   // keys not in the pool
	frontier []int      // scratch of Victims
}

// gdsfKey is a key that is, or was, in the pool.
type gdsfKey struct {
	key        string
	entry      Entry
	frequency  float64 // as of usedAt
	usedAt     float64 // GDSF.clock
	worth      float64
	place      int // in the heap, -1 outside of the pool
	next, prev *gdsfKey
}

// How much GDSF remembers. A half-life is a few uses of every key that it knows,
// so that a node with ten models notices in minutes what changes.
const (
	minHalfLife    = 500 // uses
	halfLifePerKey = 3   // uses
	minPast        = 16384
)

var _ Order = (*GDSF)(nil)

// NewGDSF returns an empty order.
func NewGDSF() *GDSF {
	return &GDSF{keys: map[string]*gdsfKey{}}
}

// Add implements Order.
func (g *GDSF) Add(key string, e Entry) {
	k := g.keys[key]
	if k == nil {
		k = &gdsfKey{key: key, place: -1}
		g.keys[key] = k
	}
	k.entry = e
	if k.place < 0 {
		g.past.remove(k)
		k.place = len(g.heap)
		g.heap = append(g.heap, k)
	}
	g.use(k)
}

// Update implements Order.
func (g *GDSF) Update(key string, e Entry) {
	if k := g.keys[key]; k != nil && k.place >= 0 {
		k.entry = e
		g.price(k)
	}
}

// Touch implements Order.
func (g *GDSF) Touch(key string) {
	if k := g.keys[key]; k != nil && k.place >= 0 {
		g.use(k)
	}
}

func (g *GDSF) use(k *gdsfKey) {
	g.clock += 1 / float64(max(minHalfLife, halfLifePerKey*len(g.keys)))
	k.frequency = 1 + k.frequency*math.Exp2(k.usedAt-g.clock)
	k.usedAt = g.clock
	g.price(k)
}

// price computes the worth of a key as of its last use.
func (g *GDSF) price(k *gdsfKey) {
	k.worth = math.Log2(k.frequency*density(k.entry)) + k.usedAt
	g.fix(k.place)
}

// density is the time that a byte saves. What costs or takes nothing known
// counts as little.
func density(e Entry) float64 {
	return float64(max(1, e.Cost)) / float64(max(1, e.Size))
}

// Remove implements Order.
func (g *GDSF) Remove(key string) {
	k := g.keys[key]
	if k == nil || k.place < 0 {
		return
	}
	last := len(g.heap) - 1
	at := k.place
	g.swap(at, last)
	g.heap[last] = nil
	g.heap = g.heap[:last]
	k.place = -1
	if at < last {
		g.fix(at)
	}
	g.past.push(k)
	for g.past.len > max(minPast, len(g.heap)) {
		delete(g.keys, g.past.pop().key)
	}
}

// Victims implements Order. It walks the heap from the top: what comes next is
// always among the children of what came before.
func (g *GDSF) Victims() iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(g.heap) == 0 {
			return
		}
		g.frontier = append(g.frontier[:0], 0)
		for len(g.frontier) > 0 {
			at := g.popFrontier()
			if !yield(g.heap[at].key) {
				return
			}
			for child := 2*at + 1; child <= 2*at+2 && child < len(g.heap); child++ {
				g.pushFrontier(child)
			}
		}
	}
}

func (g *GDSF) popFrontier() int {
	f := g.frontier
	top, last := f[0], len(f)-1
	f[0] = f[last]
	f = f[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(f); c++ {
			if g.before(f[c], f[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		f[i], f[least] = f[least], f[i]
		i = least
	}
	g.frontier = f
	return top
}

func (g *GDSF) pushFrontier(at int) {
	g.frontier = append(g.frontier, at)
	f := g.frontier
	for i := len(f) - 1; i > 0; {
		up := (i - 1) / 2
		if !g.before(f[i], f[up]) {
			return
		}
		f[i], f[up] = f[up], f[i]
		i = up
	}
}

// before compares by places in the heap. Equals leave in the order of their last
// use.
func (g *GDSF) before(i, j int) bool {
	a, b := g.heap[i], g.heap[j]
	return cmp.Or(cmp.Compare(a.worth, b.worth), cmp.Compare(a.usedAt, b.usedAt), strings.Compare(a.key, b.key)) < 0
}

func (g *GDSF) swap(i, j int) {
	g.heap[i], g.heap[j] = g.heap[j], g.heap[i]
	g.heap[i].place, g.heap[j].place = i, j
}

// fix moves the key at i to where it belongs.
func (g *GDSF) fix(i int) {
	for i > 0 && g.before(i, (i-1)/2) {
		g.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(g.heap); c++ {
			if g.before(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		g.swap(i, least)
		i = least
	}
}

// pastKeys is a list of keys in the order in which they left.
type pastKeys struct {
	first, last *gdsfKey
	len         int
}

func (p *pastKeys) push(k *gdsfKey) {
	k.prev, k.next = p.last, nil
	if p.last == nil {
		p.first = k
	} else {
		p.last.next = k
	}
	p.last = k
	p.len++
}

func (p *pastKeys) pop() *gdsfKey {
	k := p.first
	p.remove(k)
	return k
}

// remove takes k out, if it is in the list.
func (p *pastKeys) remove(k *gdsfKey) {
	if k.prev == nil && p.first != k {
		return
	}
	if k.prev == nil {
		p.first = k.next
	} else {
		k.prev.next = k.next
	}
	if k.next == nil {
		p.last = k.prev
	} else {
		k.next.prev = k.prev
	}
	k.prev, k.next = nil, nil
	p.len--
}
