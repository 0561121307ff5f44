package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestWindow compares the counts with a list of everything that happened.
func TestWindow(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	type event struct {
		bucket int64
		met    bool
	}
	b, events, now := NewBook(0.98), []event(nil), time.Duration(0)
	for range 3000 {
		now += time.Duration(rng.Int64N(int64(bucketSpan / 4)))
		if rng.IntN(300) == 0 {
			now += time.Duration(rng.Int64N(int64(2 * buckets * bucketSpan)))
		}
		f := b.Function(now, "f")
		if rng.IntN(3) > 0 {
			met := rng.IntN(2) > 0
			f.Count(now, met)
			events = append(events, event{int64(now / bucketSpan), met})
		}
		sent, met := int64(0), int64(0)
		for _, e := range events {
			if e.bucket > int64(now/bucketSpan)-buckets {
				sent++
				if e.met {
					met++
				}
			}
		}
		if gotSent, gotMet := f.Counts(now); gotSent != sent || gotMet != met {
			t.Fatalf("at %v: %d sent, %d met; want %d and %d", now, gotSent, gotMet, sent, met)
		}
	}
}

func TestBookForgets(t *testing.T) {
	b := NewBook(0.98)
	for i := range 100 {
		b.Function(0, fmt.Sprint(i)).Count(0, true)
	}
	for range 3 {
		b.Function(b.sweepAt, "now").Count(b.sweepAt, true)
	}
	if len(b.functions) != 1 {
		t.Errorf("%d functions are known, want only the one that is used", len(b.functions))
	}
}

func TestRequired(t *testing.T) {
	for _, c := range []struct {
		sent, met int
		want      float64
	}{{0, 0, 0}, {100, 100, -100}, {100, 98, 0}, {100, 97, 50}, {10, 9, 40}, {1, 0, 49}} {
		f := NewBook(0.98).Function(0, "f")
		for i := range c.sent {
			f.Count(0, i < c.met)
		}
		got := f.required(0.98)
		if math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%d of %d: %v more are required, want %v", c.met, c.sent, got, c.want)
		}
		// The definition: with as many more in time the share is the target.
		if n := math.Ceil(got - 1e-6); n > 0 && (float64(c.met)+n)/(float64(c.sent)+n) < 0.98-1e-9 {
			t.Errorf("%d of %d: %v more do not reach the target", c.met, c.sent, n)
		}
	}
}

// TestRRCAgainstNaive follows the description with plain lists.
func TestRRCAgainstNaive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	b := NewBook(0.98)
	p, now := NewRRC(b), time.Duration(0)
	alpha, old, given := 1.0, 0.0, 0
	for round := 1; round <= 300; round++ {
		now += rrcRound
		bad := 2 + rng.IntN(40)*(round/60%2)
		for range 60 {
			b.Function(now, fmt.Sprint(rng.IntN(30))).Count(now, rng.IntN(100) >= bad)
		}
		p.Round(now)

		need, sum, attain := map[string]float64{}, 0.0, 0.0
		var names []string
		for name, f := range b.functions {
			n, m := f.Counts(now)
			need[name] = (0.98*float64(n) - float64(m)) / (1 - 0.98)
			names = append(names, name)
			sum += max(0, need[name])
			if need[name] <= 0 {
				attain++
			}
		}
		if ratio := attain / float64(len(names)); round%20 == 0 {
			switch d := (ratio - old) / old; {
			case d >= 0.04: // also from none to some
				alpha, old = math.Min(1, 2*alpha), ratio
			case d < -0.04:
				alpha, old = alpha/2, ratio
			default:
				alpha = math.Min(1, 1.01*alpha)
			}
		}
		slices.SortFunc(names, func(x, y string) int { return int(math.Copysign(1, need[x]-need[y])) })
		taken, over := 0.0, math.Inf(1)
		for _, name := range names {
			if taken += max(0, need[name]); taken > alpha*sum*(1+1e-9) {
				over = need[name]
				break
			}
		}
		for name, f := range b.functions {
			if low := need[name] > over; f.low != low && need[name] != over {
				t.Fatalf("round %d: %s needs %v, is given up: %v, want %v (alpha %v, limit %v)", round, name, need[name], f.low, low, alpha, over)
			} else if low {
				given++
			}
		}
		if math.Abs(p.alpha-alpha) > 1e-12 {
			t.Fatalf("round %d: alpha is %v, want %v", round, p.alpha, alpha)
		}
	}
	if given == 0 {
		t.Error("no function was ever given up: the test shows nothing")
	}
}

func TestRRCOrder(t *testing.T) {
	b := NewBook(0.98)
	request := func(name string, sent, met int, low bool) *Request {
		f := b.Function(0, name)
		for i := range sent {
			f.Count(0, i < met)
		}
		f.low = low
		return &Request{Function: f}
	}
	p := NewRRC(b)
	order := []*Request{ // the first goes first
		request("in need", 100, 90, false),
		request("in little need", 100, 97, false),
		{},
		request("well", 100, 100, false),
		request("given up", 100, 50, true),
		request("given up for more", 100, 10, true),
	}
	for i, r := range order[1:] {
		if p.Rank(0, order[i]).compare(p.Rank(0, r)) >= 0 {
			t.Errorf("number %d does not go before the next", i)
		}
	}
}

func TestSLOOrder(t *testing.T) {
	b := NewBook(0.98)
	request := func(name string, sent, met int, deadline time.Duration) *Request {
		f := b.Function(0, name)
		for i := range sent {
			f.Count(0, i < met)
		}
		return &Request{Function: f, Deadline: deadline, Work: 10 * ms}
	}
	p := NewSLO(b)
	order := []*Request{ // the first goes first
		request("well", 100, 100, 50*ms),
		request("new", 0, 0, 60*ms),
		request("missed its first", 1, 0, 70*ms),
		request("can be brought back", 100, 97, 90*ms),
		{Work: 10 * ms}, // of nobody, patient
		request("cannot be brought back", 100, 50, 50*ms),
		request("late", 100, 97, 5*ms),
	}
	for i, r := range order[1:] {
		if p.Rank(0, order[i]).compare(p.Rank(0, r)) >= 0 {
			t.Errorf("number %d does not go before the next", i)
		}
	}
	r := p.Rank(0, order[0])
	if r.Press != 20*ms || r.Until != 40*ms+1 {
		t.Errorf("begins at 40 ms at the latest: presses from %v, late from %v", r.Press, r.Until)
	}
	if after := p.Rank(r.Until, order[0]); after.Class != late || after.Until != Forever || after.Press > r.Until {
		t.Errorf("afterwards: %+v", after)
	}
}
