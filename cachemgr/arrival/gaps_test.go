package arrival

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func gaps(list ...time.Duration) *Gaps {
	g, now := &Gaps{}, time.Duration(0)
	g.Seen(now)
	for _, gap := range list {
		now += gap
		g.Seen(now)
	}
	return g
}

func repeat(n int, list ...time.Duration) []time.Duration { return slices.Repeat(list, n) }

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name string
		gaps []time.Duration
		ok   bool
		gap  time.Duration // is in the window
	}{
		{"never asked for", nil, false, 0},
		{"too few", repeat(needed-1, time.Second), false, 0},
		{"every second", repeat(needed, time.Second), true, time.Second},
		{"every millisecond", repeat(20, time.Millisecond), true, time.Millisecond},
		{"every ten minutes", repeat(20, 10*time.Minute), true, 10 * time.Minute},
		{"almost every second", repeat(10, time.Second, 1100*time.Millisecond, 900*time.Millisecond), true, time.Second},
		{"one of many late", append(repeat(39, time.Second), time.Minute), true, time.Second},
		{"of two kinds", repeat(10, time.Second, time.Minute), false, 0},
		{"too rare", repeat(20, time.Hour), false, 0},
		{"it has changed", append(repeat(64, time.Second), repeat(200, time.Minute)...), true, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gaps(c.gaps...)
			from, to, ok := g.Next()
			if ok != c.ok || ok && (from > g.last+c.gap || to < g.last+c.gap) {
				t.Errorf("from %v to %v, %v; want %v with a gap of %v", from-g.last, to-g.last, ok, c.ok, c.gap)
			}
		})
	}
}

// TestExponentialGapsAreNotPredicted: what comes without a memory cannot be.
func TestExponentialGapsAreNotPredicted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	g, now, predicted := &Gaps{}, time.Duration(0), 0
	for range 10000 {
		now += time.Duration(rng.ExpFloat64() * float64(time.Second))
		g.Seen(now)
		if _, _, ok := g.Next(); ok {
			predicted++
		}
	}
	if predicted > 100 {
		t.Errorf("%d of 10000 were predicted", predicted)
	}
}

func TestWait(t *testing.T) {
	g := gaps(repeat(20, 10*time.Second)...)
	for _, c := range []struct{ since, least, most time.Duration }{
		{0, 9 * time.Second, 12 * time.Second},
		{5 * time.Second, 4 * time.Second, 7 * time.Second},
		{time.Minute, time.Minute, time.Minute},
	} {
		if got := g.Wait(g.last + c.since); got < c.least || got > c.most {
			t.Errorf("%v after the last: %v to the next, want %v to %v", c.since, got, c.least, c.most)
		}
	}
	if got := (&Gaps{}).Wait(time.Hour); got != time.Hour {
		t.Errorf("never asked for: %v", got)
	}
}

func TestBuckets(t *testing.T) {
	for i := range buckets {
		if got := bucket(lower(i) + time.Microsecond); got != i {
			t.Errorf("bucket %d begins at %v, which is in %d", i, lower(i), got)
		}
	}
	if bucket(0) != 0 || bucket(time.Hour) != buckets-1 || lower(buckets) < notLongerAfter {
		t.Error("the ends are wrong")
	}
}

func BenchmarkSeen(b *testing.B) {
	g, now := &Gaps{}, time.Duration(0)
	for b.Loop() {
		now += time.Second
		g.Seen(now)
	}
}
