package sim

import (
	"container/heap"
	"math"
	"testing"
	"time"
)

// until runs events up to a time.
func (s *simulation) until(end time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
}

// swapper swaps one model in again and again, and computes while it is copied.
type swapper struct {
	sim           *simulation
	link          *link
	swap, compute time.Duration
	cycles        int
	took          time.Duration
}

func (w *swapper) begin() {
	began, ready := w.sim.now, w.sim.now+w.compute
	w.link.start(&flow{left: w.swap, usable: func() {}, done: func() {
		w.sim.after(max(0, ready-w.sim.now), func() {
			w.cycles++
			w.took += w.sim.now - began
			w.begin()
		})
	}})
}

func (w *swapper) mean() time.Duration { return w.took / time.Duration(w.cycles) }

// TestInterference holds the profile against Table 3 of Torpor: how much longer a
// model takes while another one is swapped in over the same switch.
func TestInterference(t *testing.T) {
	p, err := Named("torpor")
	if err != nil {
		t.Fatal(err)
	}
	costs := map[string]Cost{}
	for _, m := range p.Models {
		costs[m.Name] = m.Costs[0]
	}
	run := func(names ...string) time.Duration {
		s := &simulation{}
		l := &link{sim: s, stretch: p.Groups[0].stretch()}
		var all []*swapper
		for _, name := range names {
			w := &swapper{sim: s, link: l, swap: millis(costs[name].Swap), compute: millis(costs[name].Compute)}
			all = append(all, w)
			w.begin()
		}
		s.until(20 * time.Second)
		return all[0].mean()
	}
	for _, c := range []struct {
		model, beside string
		alone, both   float64 // ms, in the paper
	}{
		{"densenet-169", "resnet-152", 27, 27},
		{"densenet-169", "bert-qa", 27, 27},
		{"resnet-152", "densenet-169", 29, 31},
		{"resnet-152", "bert-qa", 29, 43},
		{"bert-qa", "densenet-169", 149, 166},
		{"bert-qa", "resnet-152", 149, 240},
	} {
		got, want := float64(run(c.model, c.beside))/float64(run(c.model)), c.both/c.alone
		t.Logf("%s beside %s: %.2f times as long, %.2f in the paper", c.model, c.beside, got, want)
		if math.Abs(got/want-1) > 0.12 {
			t.Errorf("%s beside %s: %.2f times as long, want %.2f", c.model, c.beside, got, want)
		}
	}
}

func TestCopiesThatShareALink(t *testing.T) {
	s := &simulation{}
	l := &link{sim: s, stretch: 1}
	var ends []time.Duration
	usable := time.Duration(0)
	start := func(left, lead time.Duration) {
		l.start(&flow{left: left, lead: lead, usable: func() { usable = s.now }, done: func() { ends = append(ends, s.now) }})
	}
	start(20, 0)
	s.after(10, func() { start(20, 5) })
	s.until(1000)
	// 10 alone, then both at half the rate: the first ends at 30, when the second has
	// 10 left, and is usable at 35.
	if len(ends) != 2 || ends[0] != 30 || ends[1] != 40 || usable != 35 {
		t.Errorf("ended at %v, usable at %v; want 30, 40 and 35", ends, usable)
	}
}
