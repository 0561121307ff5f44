package policy

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestGDSF(t *testing.T) {
	entry := func(size int64, cost time.Duration) Entry { return Entry{Size: size, Cost: cost} }
	for _, c := range []struct {
		name string
		do   func(o Order)
		want []string
	}{
		{"empty", func(Order) {}, nil},
		{"equals leave by their last use", func(o Order) { add(o, "b", "a", "c") }, []string{"b", "a", "c"}},
		{"the bigger leaves first", func(o Order) {
			o.Add("small", entry(1, time.Second))
			o.Add("big", entry(10, time.Second))
		}, []string{"big", "small"}},
		{"the cheaper leaves first", func(o Order) {
			o.Add("dear", entry(1, time.Minute))
			o.Add("cheap", entry(1, time.Second))
		}, []string{"cheap", "dear"}},
		{"the one used less leaves first", func(o Order) {
			add(o, "a", "b")
			o.Touch("a")
			o.Touch("a")
			o.Touch("b")
		}, []string{"b", "a"}},
		{"a new entry counts", func(o Order) {
			o.Add("a", entry(1, time.Second))
			o.Add("b", entry(1, time.Second))
			o.Add("b", entry(100, time.Second))
		}, []string{"b", "a"}},
		{"nothing known", func(o Order) {
			o.Add("a", Entry{})
			o.Add("b", Entry{Size: -1, Cost: -1})
		}, []string{"a", "b"}},
		{"unknown keys are ignored", func(o Order) { add(o, "a"); o.Touch("x"); o.Remove("x") }, []string{"a"}},
		{"a key that comes back is no stranger", func(o Order) {
			add(o, "often", "once")
			for range 5 {
				o.Touch("often")
			}
			o.Remove("often")
			add(o, "often", "new")
		}, []string{"once", "new", "often"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := NewGDSF()
			c.do(o)
			if got := slices.Collect(o.Victims()); !slices.Equal(got, c.want) {
				t.Errorf("victims %v, want %v", got, c.want)
			}
		})
	}
}

// TestGDSFForgets: a key that was used often, long ago, leaves before keys that
// are used now.
func TestGDSFForgets(t *testing.T) {
	o := NewGDSF()
	add(o, "old")
	for range 1000 {
		o.Touch("old")
	}
	for i := range 20000 {
		add(o, "now"+strconv.Itoa(i%3))
		for victim := range o.Victims() {
			if victim == "old" {
				return
			}
			if i > 2 {
				o.Remove(victim)
			}
			break
		}
		o.Touch("now" + strconv.Itoa(i%3))
	}
	t.Error("a key that was not used for 20000 uses is still kept")
}

func TestGDSFRemembersABoundedPast(t *testing.T) {
	o := NewGDSF()
	for i := range 10 * minPast {
		add(o, strconv.Itoa(i))
		o.Remove(strconv.Itoa(i))
	}
	if len(o.keys) != minPast {
		t.Errorf("%d keys are remembered, want %d", len(o.keys), minPast)
	}
}

// naiveGDSF computes every worth from the definition and sorts when asked.
type naiveGDSF struct {
	clock float64
	keys  map[string]*naiveKey
}

type naiveKey struct {
	entry  Entry
	uses   []float64 // clock of each
	inside bool
}

func (n *naiveGDSF) use(key string) {
	k := n.keys[key]
	n.clock += 1 / math.Max(minHalfLife, halfLifePerKey*float64(len(n.keys)))
	k.uses, k.inside = append(k.uses, n.clock), true
}

func (k *naiveKey) worth() float64 {
	frequency, last := 0.0, k.uses[len(k.uses)-1]
	for _, at := range k.uses {
		frequency += math.Pow(2, at-last)
	}
	return math.Log2(frequency*float64(k.entry.Cost)/float64(k.entry.Size)) + last
}

func (n *naiveGDSF) victims() []string {
	var out []string
	for key, k := range n.keys {
		if k.inside {
			out = append(out, key)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Compare(n.keys[a].worth(), n.keys[b].worth())
	})
	return out
}

func TestGDSFAgainstNaive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	o, n := NewGDSF(), &naiveGDSF{keys: map[string]*naiveKey{}}
	for step := range 3000 {
		key := strconv.Itoa(r.IntN(40))
		k := n.keys[key]
		switch r.IntN(6) {
		case 0:
			if k == nil {
				k = &naiveKey{}
				n.keys[key] = k
			}
			k.entry = Entry{Size: 1 + r.Int64N(50), Cost: time.Duration(1 + r.IntN(1000))}
			o.Add(key, k.entry)
			n.use(key)
		case 1:
			o.Remove(key)
			if k != nil {
				k.inside = false
			}
		case 2:
			e := Entry{Size: 1 + r.Int64N(50), Cost: time.Duration(1 + r.IntN(1000))}
			o.Update(key, e)
			if k != nil && k.inside {
				k.entry = e
			}
		default:
			o.Touch(key)
			if k != nil && k.inside {
				n.use(key)
			}
		}
		want, take, got := n.victims(), r.IntN(6), []string(nil)
		for victim := range o.Victims() {
			if got = append(got, victim); len(got) > take {
				break
			}
		}
		want = want[:min(len(want), take+1)]
		if !slices.Equal(got, want) {
			t.Fatalf("step %d: victims %v, want %v", step, got, want)
		}
	}
}

func TestTwoLists(t *testing.T) {
	o := NewTwoLists()
	spare := Entry{Size: 1, Spare: true}
	add(o, "needed1", "needed2")
	o.Add("spare1", spare)
	o.Add("spare2", spare)
	want := func(keys ...string) {
		t.Helper()
		if got := slices.Collect(o.Victims()); !slices.Equal(got, keys) {
			t.Fatalf("victims %v, want %v", got, keys)
		}
	}
	want("spare1", "spare2", "needed1", "needed2")
	o.Touch("spare1")
	o.Touch("needed1")
	want("spare2", "spare1", "needed2", "needed1")
	o.Add("needed1", spare) // it has got a copy
	want("spare2", "spare1", "needed1", "needed2")
	add(o, "spare2") // it has lost its copy
	want("spare1", "needed1", "needed2", "spare2")
	o.Remove("needed1")
	o.Remove("unknown")
	o.Touch("unknown")
	o.Update("unknown", spare)
	want("spare1", "needed2", "spare2")
	o.Update("spare1", spare) // no news, no use
	o.Update("needed2", spare)
	want("spare1", "needed2", "spare2")
	o.Update("needed2", Entry{Size: 2})
	want("spare1", "spare2", "needed2")
	for key := range o.Victims() {
		if key != "spare1" {
			t.Fatalf("first victim %q", key)
		}
		break
	}
}

// BenchmarkDecision10kEntries: a use, or an eviction and what comes instead.
func BenchmarkDecision10kEntries(b *testing.B) {
	for name, o := range map[string]Order{"lru": NewLRU(), "twolists": NewTwoLists(), "gdsf": NewGDSF()} {
		b.Run(name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			keys := make([]string, 20000)
			for i := range keys {
				keys[i] = strconv.Itoa(i)
				if i < 10000 {
					o.Add(keys[i], Entry{Size: 1 + r.Int64N(1e9), Cost: time.Duration(r.IntN(1e9)), Spare: i%2 == 0})
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				key := keys[r.IntN(len(keys))]
				if r.IntN(2) == 0 {
					o.Touch(key)
					continue
				}
				for victim := range o.Victims() {
					o.Remove(victim)
					break
				}
				o.Add(key, Entry{Size: 1 + r.Int64N(1e9), Cost: time.Duration(r.IntN(1e9))})
			}
		})
	}
}
