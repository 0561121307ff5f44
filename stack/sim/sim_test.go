package sim

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

func lru() policy.Order { return policy.NewLRU() }

// small is a profile of two devices with room for two models each.
func small() Profile {
	p := Profile{Name: "small", Groups: []Group{{Nodes: 1, Devices: 2, Class: "c", BudgetMB: 20, HostMB: 30, DevicesPerLink: 2}}}
	p.Models = []Model{{Name: "m", MB: 10, SLOms: 100, Costs: []Cost{{Class: "c", Load: 50, Swap: 20, Compute: 10}}}}
	return p
}

func at(ms int, function int) Request {
	return Request{At: time.Duration(ms) * time.Millisecond, Function: function}
}

// TestLatenciesByHand compares with times that were worked out on paper.
func TestLatenciesByHand(t *testing.T) {
	for _, c := range []struct {
		name      string
		pipelined bool
		staged    bool
		credits   int
		requests  []Request
		want      []float64 // sorted
		misses    float64
	}{
		{"cold: load, swap, compute", false, false, 1, []Request{at(0, 0)}, []float64{80}, 1},
		{"staged: swap, compute", false, true, 1, []Request{at(0, 0)}, []float64{30}, 1},
		{"resident: compute", false, true, 1, []Request{at(0, 0), at(100, 0)}, []float64{10, 30}, 0.5},
		{"pipelined: the longer of both", true, true, 1, []Request{at(0, 0)}, []float64{20}, 1},
		// Both swaps share the link: each gets half of it.
		{"two models, one link", false, true, 1, []Request{at(0, 0), at(0, 1)}, []float64{50, 50}, 1},
		// For 10 ms one has it alone, then both for 20, then the other one for 10.
		{"two models, one link, one later", false, true, 1, []Request{at(0, 0), at(10, 1)}, []float64{40, 40}, 1},
		// 1 and 2 are computed beside each other, 3 waits for one of them.
		{"a busy device that has it", false, true, 1, []Request{at(0, 0), at(100, 0), at(102, 0)}, []float64{10, 18, 30}, 1. / 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := small()
			p.Pipelined = c.pipelined
			r, err := Run(context.Background(), Config{
				Profile: p, Workload: Workload{Functions: 3, Requests: c.requests}, Policy: locality.LALB,
				Credits: c.credits, Eviction: lru, Staged: c.staged,
			})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r.Latencies, c.want) || r.MissRatio != c.misses {
				t.Errorf("latencies %v, misses %v; want %v, %v", r.Latencies, r.MissRatio, c.want, c.misses)
			}
		})
	}
}

// TestQueueingTheory: one device that always has its model is an M/D/1 queue,
// whose mean wait is known: rho*s / (2*(1-rho)).
func TestQueueingTheory(t *testing.T) {
	p := small()
	p.Groups[0].Devices = 1
	for _, rho := range []float64{0.3, 0.7} {
		for _, policy := range locality.Policies() {
			g := Generator{Functions: 1, PerMinute: rho * 6000, Length: 30 * time.Minute, Shape: Flat, Gaps: Exponential, Seed: 1}
			w, err := g.Generate()
			if err != nil {
				t.Fatal(err)
			}
			r, err := Run(context.Background(), Config{Profile: p, Workload: w, Policy: policy, Eviction: lru})
			if err != nil {
				t.Fatal(err)
			}
			want := 10 + rho*10/(2*(1-rho))
			if math.Abs(r.MeanMS/want-1) > 0.05 || math.Abs(r.Computing-rho) > 0.02 {
				t.Errorf("%s at %v: mean %.2f ms, computing %.3f; want %.2f and %v", policy, rho, r.MeanMS, r.Computing, want, rho)
			}
		}
	}
}

// TestEveryProfile runs every policy and order of eviction on the profiles that
// come with the package. Run itself fails if a budget is exceeded or a request is
// never served.
func TestEveryProfile(t *testing.T) {
	orders := map[string]func() policy.Order{
		"lru": lru, "twolists": func() policy.Order { return policy.NewTwoLists() }, "gdsf": func() policy.Order { return policy.NewGDSF() },
	}
	for i, name := range Names() {
		p, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, shape := range Shapes()[i%2*2 : i%2*2+2] {
			w, err := Generator{Functions: 50, PerMinute: 400, Length: time.Minute, Skew: 0.9, Shape: shape, Gaps: Exponential, Seed: 3}.Generate()
			if err != nil {
				t.Fatal(err)
			}
			for order, eviction := range orders {
				for _, policy := range locality.Policies() {
					cfg := Config{Profile: p, Workload: w, Policy: policy, Credits: 1 + len(order)%3, Eviction: eviction, Staged: order == "lru", Lag: 3 * time.Millisecond}
					first, err := Run(context.Background(), cfg)
					if err != nil {
						t.Fatalf("%s, %s, %s, %s: %v", name, shape, order, policy, err)
					}
					if second, _ := Run(context.Background(), cfg); !reflect.DeepEqual(first, second) {
						t.Errorf("%s, %s, %s, %s: two runs differ", name, shape, order, policy)
					}
					if first.Requests != len(w.Requests) {
						t.Errorf("%s: %d of %d requests are counted", name, first.Requests, len(w.Requests))
					}
				}
			}
		}
	}
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Run(ctx, Config{Profile: small(), Workload: Workload{Functions: 1, Requests: []Request{at(0, 0)}}, Policy: locality.LB, Eviction: lru})
	if err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestGenerator(t *testing.T) {
	g := Generator{Functions: 20, PerMinute: 6000, Length: 10 * time.Minute, Skew: 1, Shape: Flat, Gaps: Exponential, Seed: 1}
	stats := func(g Generator) (n int, cv float64, first float64) {
		t.Helper()
		w, err := g.Generate()
		if err != nil {
			t.Fatal(err)
		}
		sum, squares, last, hot := 0.0, 0.0, time.Duration(0), 0
		for _, r := range w.Requests {
			gap := (r.At - last).Seconds()
			last = r.At
			sum, squares = sum+gap, squares+gap*gap
			if r.Function == 0 {
				hot++
			}
		}
		n = len(w.Requests)
		mean := sum / float64(n)
		return n, math.Sqrt(squares/float64(n)-mean*mean) / mean, float64(hot) / float64(n)
	}
	n, cv, first := stats(g)
	harmonic := 0.0
	for k := 1; k <= 20; k++ {
		harmonic += 1 / float64(k)
	}
	if math.Abs(float64(n)/60000-1) > 0.02 || math.Abs(cv-1) > 0.02 || math.Abs(first*harmonic-1) > 0.05 {
		t.Errorf("%d requests, variation of gaps %.3f, share of the first %.3f; want 60000, 1, %.3f", n, cv, first, 1/harmonic)
	}
	g.Gaps = PoissonMillis
	// Gaps of 10 ms on average with a deviation of its root.
	if _, cv, _ := stats(g); math.Abs(cv-math.Sqrt(0.1)) > 0.02 {
		t.Errorf("variation of Poisson-distributed gaps %.3f, want %.3f", cv, math.Sqrt(0.1))
	}
	g.Gaps, g.Shape = Exponential, Fluctuating
	if n, _, _ := stats(g); math.Abs(float64(n)/60000-42./80) > 0.02 {
		t.Errorf("%d requests of a fluctuating load, want 52.5 %% of 60000", n)
	}
	g.Shape = Steady
	if n, _, _ := stats(g); math.Abs(float64(n)/60000-675./700) > 0.02 {
		t.Errorf("%d requests of a steady load, want 96.4 %% of 60000", n)
	}
}

func TestRefusals(t *testing.T) {
	good := Generator{Functions: 1, PerMinute: 1, Length: time.Minute, Shape: Flat, Gaps: Exponential}
	for name, change := range map[string]func(*Generator){
		"no functions": func(g *Generator) { g.Functions = 0 },
		"no rate":      func(g *Generator) { g.PerMinute = math.NaN() },
		"no length":    func(g *Generator) { g.Length = 0 },
		"shape":        func(g *Generator) { g.Shape = "round" },
		"gaps":         func(g *Generator) { g.Gaps = "none" },
		"too many":     func(g *Generator) { g.PerMinute = 1e9 },
	} {
		g := good
		change(&g)
		if _, err := g.Generate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Named("unknown"); err == nil {
		t.Error("an unknown profile: no error")
	}
	if _, err := Run(context.Background(), Config{Profile: small(), Policy: "fastest", Eviction: lru}); err == nil {
		t.Error("an unknown policy: no error")
	}
}

func TestReadTrace(t *testing.T) {
	w, err := ReadTrace(strings.NewReader("# function,ms\nb, 20\n\na,10.5\nb,30\n"))
	want := Workload{Functions: 2, Requests: []Request{
		{At: 10500 * time.Microsecond, Function: 0}, {At: 20 * time.Millisecond, Function: 1}, {At: 30 * time.Millisecond, Function: 1},
	}}
	if err != nil || !reflect.DeepEqual(w, want) {
		t.Errorf("got %v, %v; want %v", w, err, want)
	}
	for _, bad := range []string{"", "a", "a,", "a,-1", "a,NaN", ",5", "a,1e300", strings.Repeat("x", 70000)} {
		if _, err := ReadTrace(strings.NewReader(bad)); err == nil {
			t.Errorf("%.20q: no error", bad)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("a,1\nb,2\n")
	f.Add("#\na , 1e3")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ReadTrace(strings.NewReader(text))
		for i, r := range w.Requests {
			if err == nil && (r.Function < 0 || r.Function >= w.Functions || r.At < 0 || i > 0 && r.At < w.Requests[i-1].At) {
				t.Errorf("request %d is %+v, after %+v", i, r, w.Requests[max(0, i-1)])
			}
		}
	})
}

func FuzzParseProfile(f *testing.F) {
	for _, name := range Names() {
		data, err := profiles.ReadFile("profiles/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"groups":[{"nodes":1,"devices":1,"class":"","budget_mb":1,"devices_per_link":1}],"models":[{"mb":1,"costs":[{"compute_ms":1}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProfile(data)
		if err != nil || len(p.Groups) > 8 {
			return
		}
		for i := range p.Groups {
			p.Groups[i].Nodes, p.Groups[i].Devices = min(2, p.Groups[i].Nodes), min(3, p.Groups[i].Devices)
		}
		w := Workload{Functions: 3, Requests: []Request{at(0, 0), at(1, 1), at(2, 2), at(2, 0)}}
		if _, err := Run(context.Background(), Config{Profile: p, Workload: w, Policy: locality.Swap, Eviction: lru}); err != nil {
			t.Errorf("a profile that was accepted does not run: %v", err)
		}
	})
}

func TestProfileRefusals(t *testing.T) {
	for _, bad := range []string{
		``, `{}`, `{"unknown":1}`, `[]`,
		`{"groups":[{"nodes":1,"devices":1,"class":"c","budget_mb":1,"devices_per_link":1}],"models":[{"name":"big","mb":2,"costs":[{"class":"c","compute_ms":1}]}]}`,
		`{"groups":[{"nodes":1,"devices":1,"class":"c","budget_mb":1,"devices_per_link":1}],"models":[{"name":"free","mb":1,"costs":[{"class":"c"}]}]}`,
		`{"groups":[{"nodes":9999999,"devices":9999999,"class":"c","budget_mb":1,"devices_per_link":1}],"models":[{"mb":1,"costs":[{"class":"c","compute_ms":1}]}]}`,
	} {
		if p, err := ParseProfile([]byte(bad)); err == nil {
			t.Errorf("%s was accepted as %v", bad, p)
		}
	}
}
