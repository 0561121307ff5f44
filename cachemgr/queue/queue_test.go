package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// policies makes each policy over a book of its own.
var policies = []struct {
	name string
	make func(*Book) Policy
}{
	{"fifo", func(*Book) Policy { return FIFO{} }},
	{"rrc", func(b *Book) Policy { return NewRRC(b) }},
	{"slo", func(b *Book) Policy { return NewSLO(b) }},
}

// naive is a queue by its description: a list that is searched from end to end.
type naive struct {
	policy       Policy
	passes       int
	pushed, gone int
	waiting      []*waiter
}

type waiter struct {
	*Request
	group *Group
	rank  Rank
	turn  int
}

func (n *naive) push(now time.Duration, g *Group, r *Request) {
	n.waiting = append(n.waiting, &waiter{r, g, n.policy.Rank(now, r), n.pushed})
	n.pushed++
}

func (n *naive) remove(r *Request) {
	n.waiting = slices.DeleteFunc(n.waiting, func(w *waiter) bool { return w.Request == r })
	n.gone++
}

// rerank is what a round does to all that wait.
func (n *naive) rerank(now time.Duration) {
	for _, w := range n.waiting {
		w.rank = n.policy.Rank(now, w.Request)
	}
}

func (n *naive) peek(now time.Duration, spareHeavy bool) (best *waiter, pressing bool) {
	var overdue *waiter
	light := slices.ContainsFunc(n.waiting, func(w *waiter) bool { return w.group.open && !w.group.heavy })
	for _, w := range n.waiting {
		if now >= w.rank.Until {
			w.rank = n.policy.Rank(now, w.Request)
		}
		if !w.group.open {
			continue
		}
		if w.turn+n.passes <= n.gone && (overdue == nil || w.turn < overdue.turn) {
			overdue = w
		}
		if spareHeavy && light && w.group.heavy {
			continue
		}
		if best == nil || w.rank.compare(best.rank) < 0 || w.rank.compare(best.rank) == 0 && w.Number < best.Number {
			best = w
		}
	}
	if overdue != nil {
		return overdue, true
	}
	return best, best != nil && best.rank.Press <= now
}

// peekAmong is peek of those that may, without regard to passes.
func (n *naive) peekAmong(now time.Duration, spareHeavy bool, may func(*Group) bool) *Group {
	some := naive{policy: n.policy, passes: math.MaxInt32}
	for _, w := range n.waiting {
		if may(w.group) {
			some.waiting = append(some.waiting, w)
		}
	}
	if best, _ := some.peek(now, spareHeavy); best != nil {
		return best.group
	}
	return nil
}

// both is a queue beside the naive one, with what happens to them at random.
type both struct {
	*testing.T
	rng       *rand.Rand
	now       time.Duration
	book      *Book
	queue     *Queue
	naive     *naive
	groups    []*Group
	functions int
	number    uint64
	inside    []*Request
	passed    map[*Request]int // while its group was open
}

func newBoth(t *testing.T, make func(*Book) Policy, seed uint64, passes int) *both {
	b := &both{T: t, rng: rand.New(rand.NewPCG(seed, 1)), book: NewBook(0.98), functions: 12, passed: map[*Request]int{}}
	p := make(b.book)
	b.queue, b.naive = New(p, passes), &naive{policy: p, passes: passes}
	for i := range 20 {
		g := NewGroup(i)
		b.groups = append(b.groups, &g)
	}
	return b
}

func (b *both) push() {
	b.number++
	r := &Request{Number: b.number << 32, Arrived: b.now, Work: time.Duration(b.rng.IntN(40)) * ms}
	if b.rng.IntN(4) == 0 { // it has been waiting elsewhere
		r.Number -= min(r.Number, uint64(b.rng.IntN(50))<<32)
	}
	r.Number |= b.number
	if b.rng.IntN(5) > 0 {
		r.Function = b.book.Function(b.now, fmt.Sprint(b.rng.IntN(b.functions)))
		r.Deadline = b.now + time.Duration(20+b.rng.IntN(200))*ms
	}
	g := b.groups[b.rng.IntN(len(b.groups))]
	b.queue.Push(b.now, g, r)
	b.naive.push(b.now, g, r)
	b.inside = append(b.inside, r)
}

func (b *both) drop(r *Request) {
	b.naive.remove(r)
	b.inside = slices.DeleteFunc(b.inside, func(x *Request) bool { return x == r })
}

func (b *both) compare() {
	b.Helper()
	for _, spare := range []bool{false, true} {
		want, wantPressing := b.naive.peek(b.now, spare)
		g, pressing := b.queue.Peek(b.now, spare)
		if (g == nil) != (want == nil) || g != nil && (g != want.group || pressing != wantPressing) {
			b.Fatalf("at %v, %d wait: group %v, pressing %v; want %+v, pressing %v", b.now, b.queue.Len(), g, pressing, want, wantPressing)
		}
	}
	if b.rng.IntN(5) == 0 {
		b.compareAmong()
	}
	if b.queue.Len() != len(b.inside) {
		b.Fatalf("%d wait, want %d", b.queue.Len(), len(b.inside))
	}
}

func (b *both) compareAmong() {
	b.Helper()
	part := b.rng.IntN(3)
	may := func(g *Group) bool { return g.Owner.(int)%3 != part }
	for _, spare := range []bool{false, true} {
		if got, want := b.queue.PeekAmong(b.now, spare, may), b.naive.peekAmong(b.now, spare, may); got != want {
			b.Fatalf("at %v, spare %v: among some %+v, want %+v", b.now, spare, got, want)
		}
	}
}

func (b *both) next() {
	want, _ := b.naive.peek(b.now, false)
	r := b.queue.Next(b.now)
	if (r == nil) != (want == nil) || r != nil && r != want.Request {
		b.Fatalf("at %v: next is %+v, want %+v", b.now, r, want)
	}
	if r != nil {
		b.drop(r)
	}
}

func (b *both) step() {
	g := b.groups[b.rng.IntN(len(b.groups))]
	switch n := b.rng.IntN(20); {
	case n < 7:
		b.push()
	case n < 11:
		b.next()
	case n < 12 && len(b.inside) > 0:
		r := b.inside[b.rng.IntN(len(b.inside))]
		b.queue.Remove(r)
		b.drop(r)
	case n < 14:
		b.queue.SetOpen(g, b.rng.IntN(3) > 0)
	case n < 15:
		b.queue.SetHeavy(g, b.rng.IntN(2) > 0)
	case n < 17:
		f := b.book.Function(b.now, fmt.Sprint(b.rng.IntN(b.functions)))
		f.Count(b.now, b.rng.IntN(3) > 0)
	default:
		b.now += time.Duration(b.rng.IntN(30)) * ms
		if b.rng.IntN(40) == 0 {
			b.now += rrcRound
		}
		if round := b.queue.policy.Round(b.now); round != b.queue.round {
			b.naive.rerank(b.now)
		}
	}
	b.compare()
}

func TestAgainstNaive(t *testing.T) {
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			b := newBoth(t, p.make, seed, 16)
			for range 5000 {
				b.step()
			}
		})
	}
}

// TestPassesAreBounded: where all can go on, no request is passed over by more
// later ones than allowed, whoever gives up meanwhile.
func TestPassesAreBounded(t *testing.T) {
	const passes = 10
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			b := newBoth(t, p.make, seed, passes)
			for _, g := range b.groups {
				b.queue.SetOpen(g, true)
			}
			most := 0
			for range 5000 {
				switch n := b.rng.IntN(30); {
				case n < 14 || len(b.inside) < 5:
					b.push()
				case n < 28:
					r := b.queue.Next(b.now)
					for _, other := range b.inside {
						if other.turn < r.turn {
							b.passed[other]++
							most = max(most, b.passed[other])
						}
					}
					b.drop(r)
				default:
					r := b.inside[b.rng.IntN(len(b.inside))]
					b.queue.Remove(r)
					b.drop(r)
				}
				b.now += time.Duration(b.rng.IntN(10)) * ms
			}
			if most > passes {
				t.Errorf("a request was passed over %d times, at most %d are allowed", most, passes)
			}
			if p.name != "fifo" && most < passes/2 {
				t.Errorf("at most %d passes: the test has not come near the bound", most)
			}
		})
	}
}

func TestGroupKnowsItsRequests(t *testing.T) {
	q, g := New(FIFO{}, 1), NewGroup("model")
	if q.PeekOf(0, &g) != nil || q.Next(0) != nil {
		t.Error("an empty queue has a request")
	}
	a, b := &Request{Number: 2, Owner: "a"}, &Request{Number: 1, Owner: "b"}
	q.Push(0, &g, a)
	q.Push(0, &g, b)
	if n := len(slices.Collect(g.All())); n != 2 || g.Len() != 2 || q.PeekOf(0, &g) != b {
		t.Errorf("%d requests, the best is %v", n, q.PeekOf(0, &g))
	}
	if got, _ := q.Peek(0, false); got != nil || q.Next(0) != nil {
		t.Error("a closed group goes on")
	}
	q.SetOpen(&g, true)
	if q.Next(0) != b || q.Next(0) != a || q.Len() != 0 {
		t.Error("not by number")
	}
}
