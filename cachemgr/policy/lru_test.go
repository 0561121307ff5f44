package policy

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestLRU(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(o Order)
		want []string
	}{
		{"empty", func(Order) {}, nil},
		{"in order of arrival", func(o Order) { add(o, "a", "b", "c") }, []string{"a", "b", "c"}},
		{"a use moves to the end", func(o Order) { add(o, "a", "b", "c"); o.Touch("a") }, []string{"b", "c", "a"}},
		{"adding again is a use", func(o Order) { add(o, "a", "b", "a") }, []string{"b", "a"}},
		{"removed", func(o Order) { add(o, "a", "b"); o.Remove("a") }, []string{"b"}},
		{"unknown keys are ignored", func(o Order) { add(o, "a"); o.Touch("x"); o.Remove("x") }, []string{"a"}},
		{"removed and back", func(o Order) { add(o, "a", "b"); o.Remove("a"); add(o, "a") }, []string{"b", "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := NewLRU()
			c.do(o)
			if got := slices.Collect(o.Victims()); !slices.Equal(got, c.want) {
				t.Errorf("victims %v, want %v", got, c.want)
			}
		})
	}
}

func TestVictimsStops(t *testing.T) {
	o := NewLRU()
	add(o, "a", "b")
	for key := range o.Victims() {
		if key != "a" {
			t.Fatalf("first victim %q, want a", key)
		}
		break
	}
}

// TestLRUAgainstTimestamps compares with the obvious slow way: a time for every
// key, sorted when asked.
func TestLRUAgainstTimestamps(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	o, used := NewLRU(), map[string]int{}
	for step := range 5000 {
		key := strconv.Itoa(r.IntN(30))
		switch r.IntN(4) {
		case 0:
			o.Add(key, Entry{Size: 1})
			used[key] = step
		case 1:
			o.Remove(key)
			delete(used, key)
		default:
			o.Touch(key)
			if _, ok := used[key]; ok {
				used[key] = step
			}
		}
		var want []string
		for k := range used {
			want = append(want, k)
		}
		slices.SortFunc(want, func(a, b string) int { return used[a] - used[b] })
		if got := slices.Collect(o.Victims()); !slices.Equal(got, want) {
			t.Fatalf("step %d: victims %v, want %v", step, got, want)
		}
	}
}

func add(o Order, keys ...string) {
	for _, k := range keys {
		o.Add(k, Entry{Size: 1, Cost: time.Millisecond})
	}
}

func BenchmarkLRUTouch1kKeys(b *testing.B) {
	o := NewLRU()
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		o.Add(keys[i], Entry{})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.Touch(keys[i%len(keys)])
	}
}
