package region

import (
	"testing"
	"testing/synctest"
	"time"
)

// A function that registers on and on has not all of it pinned, and others do not
// notice.
func TestPinningIsBounded(t *testing.T) {
	const quota, size = 1 << 20, 1 << 18
	p := &pins{held: map[*byte]int{}}
	s := serve(t, Config{Total: 4 * quota, Each: quota, Pinner: p}, time.Minute)
	pinned := func(token string, times int) (n int) {
		c := s.dial(token)
		for range times {
			name, err := c.Register(s.memory(size))
			if err != nil {
				t.Fatal(err)
			}
			n += p.count()
			if err := c.Unregister(name); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	const atOnce = pinsAtOnce * quota / size
	if n := pinned("alice", 2*atOnce); n < atOnce || n > atOnce+1 {
		t.Errorf("%d of %d were pinned, want %d", n, 2*atOnce, atOnce)
	}
	if n := pinned("bob", 1); n != 1 {
		t.Error("of another function nothing was pinned")
	}
}

func TestPinningGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &NewPool(Config{Each: 1000}).pinning
		may := func(name string, n int64) bool { return p.may(function(name), n, time.Now()) }
		if !may("alice", 2000) || may("alice", 1) {
			t.Error("not twice the quota at once")
		}
		time.Sleep(turnover / 2)
		if !may("alice", 500) || may("alice", 1) {
			t.Error("not half of the quota in half of the time")
		}
		if !may("bob", 1) || len(p.limiters) != 2 {
			t.Errorf("%d functions are known, want 2", len(p.limiters))
		}
		time.Sleep(2 * turnover)
		if !may("carol", 1) || len(p.limiters) != 1 {
			t.Errorf("%d functions are known, want those that had much lately", len(p.limiters))
		}
	})
}
