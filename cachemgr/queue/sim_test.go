package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// device is a simulated one: it computes one request at a time, its link copies
// one model at a time, and it has room for some models of equal size. It keeps
// its queues as the cache manager does.
type device struct {
	now          time.Duration
	book         *Book
	loads, turns *Queue
	models       []*simModel
	room, used   int
	copying      *simModel
	copied       time.Duration
	running      *simRequest
	done         time.Duration
	served       []*simRequest
	number       uint64
}

type simModel struct {
	name          string
	swap, compute time.Duration
	want, turn    Group
	resident      bool
	leases        int
	lastUsed      time.Duration
	giveWay       bool
	slo           time.Duration
}

type simRequest struct {
	Request
	model *simModel
	took  time.Duration
}

func (d *device) arrive(m *simModel) {
	d.number++
	r := &simRequest{model: m}
	r.Request = Request{Owner: r, Number: d.number, Arrived: d.now, Deadline: d.now + m.slo, Function: d.book.Function(d.now, m.name)}
	m.lastUsed = d.now
	if m.resident && !m.giveWay {
		d.lease(r)
	} else {
		r.Work = m.swap + m.compute
		d.loads.Push(d.now, &m.want, &r.Request)
		d.loads.SetOpen(&m.want, m != d.copying)
	}
	d.pump()
}

func (d *device) lease(r *simRequest) {
	r.model.leases++
	r.Work = r.model.compute
	d.turns.Push(d.now, &r.model.turn, &r.Request)
	d.turns.SetOpen(&r.model.turn, true)
}

func (d *device) pump() {
	if d.running == nil {
		if r := d.turns.Next(d.now); r != nil {
			d.running = r.Owner.(*simRequest)
			d.done = d.now + d.running.model.compute
		}
	}
	if d.copying != nil {
		return
	}
	g, pressing := d.loads.Peek(d.now, false)
	if g == nil {
		return
	}
	m := g.Owner.(*simModel)
	if m.resident { // it was to give way
		m.giveWay = false
		d.leaseAll(m)
		d.pump()
		return
	}
	if d.used == d.room && !d.evict(pressing) {
		return
	}
	d.used++
	d.copying, d.copied = m, d.now+m.swap
	d.loads.SetOpen(g, false)
}

func (d *device) leaseAll(m *simModel) {
	for m.want.Len() > 0 {
		r := d.loads.PeekOf(d.now, &m.want)
		d.loads.Remove(r)
		d.lease(r.Owner.(*simRequest))
	}
}

func (d *device) evict(pressing bool) bool {
	var victim *simModel
	for _, m := range d.models {
		if m.giveWay && m.leases > 0 {
			pressing = false // one is on its way
		}
		if m.resident && m.leases == 0 && (victim == nil || m.lastUsed < victim.lastUsed) {
			victim = m
		}
	}
	if victim != nil {
		victim.resident, victim.giveWay = false, false
		d.used--
		return true
	}
	for _, m := range d.models {
		if pressing && m.resident && (victim == nil || m.lastUsed < victim.lastUsed) {
			victim = m
		}
	}
	if victim != nil {
		victim.giveWay = true
	}
	return false
}

// step goes on to the next end of something, but not beyond until.
func (d *device) step(until time.Duration) bool {
	next := until
	if d.running != nil {
		next = min(next, d.done)
	}
	if d.copying != nil {
		next = min(next, d.copied)
	}
	d.now = next
	switch {
	case d.running != nil && d.done == next:
		r := d.running
		d.running = nil
		r.model.leases--
		r.took = d.now - r.Arrived
		d.served = append(d.served, r)
		d.book.Function(d.now, r.model.name).Count(d.now, d.now <= r.Deadline)
	case d.copying != nil && d.copied == next:
		m := d.copying
		d.copying = nil
		m.resident = true
		d.leaseAll(m)
	default:
		return false
	}
	d.pump()
	return true
}

// load is what is asked of a device.
type simLoad struct {
	functions   int
	perMinute   float64 // requests of each
	room        int     // models
	skew        float64
	fluctuating bool
}

type outcome struct {
	attain    int     // functions with 98 % of their requests in time
	met       float64 // share of requests
	mean, p99 time.Duration
	busy      float64
}

// simKinds are models like those of Torpor's paper, in milliseconds. (Its Bert, whose
// swap takes longer than the objective of the others, would leave nothing to
// schedule on one link.)
var simKinds = []struct{ swap, compute, slo time.Duration }{
	{13, 9, 80}, {22, 14, 80}, {25, 17, 80}, {9, 25, 80}, {9, 28, 80}, {6, 14, 80}, {6, 12, 80}, {30, 20, 200},
}

func simulate(policy func(*Book) Policy, l simLoad, seed uint64) outcome {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := NewBook(0.98)
	p := policy(b)
	d := &device{book: b, loads: New(p, 256), turns: New(p, 256), room: l.room}
	weights, sum := []float64{}, 0.0
	for i := range l.functions {
		k := simKinds[i%len(simKinds)]
		m := &simModel{name: fmt.Sprint(i), swap: k.swap * time.Millisecond, compute: k.compute * time.Millisecond, slo: k.slo * time.Millisecond}
		m.want, m.turn = NewGroup(m), NewGroup(m)
		d.models = append(d.models, m)
		w := math.Pow(float64(i+1), -l.skew)
		sum += w
		weights = append(weights, sum)
	}
	const length = 10 * time.Minute
	busy := time.Duration(0)
	for at := time.Duration(0); ; {
		rate := l.perMinute * float64(l.functions)
		if l.fluctuating {
			rate *= 1 + 0.5*math.Sin(float64(at)/float64(time.Minute)*2*math.Pi)
		}
		at += time.Duration(rng.ExpFloat64() / rate * float64(time.Minute))
		if at > length {
			break
		}
		for d.step(at) {
		}
		i, _ := slices.BinarySearch(weights, rng.Float64()*sum)
		d.arrive(d.models[i])
	}
	for d.step(1 << 62) {
	}
	sent, met := map[string]int{}, map[string]int{}
	took, all := []time.Duration{}, time.Duration(0)
	total := 0
	for _, r := range d.served {
		sent[r.model.name]++
		busy += r.model.compute
		if r.took <= r.model.slo {
			met[r.model.name]++
			total++
		}
		took = append(took, r.took)
		all += r.took
	}
	slices.Sort(took)
	o := outcome{met: float64(total) / float64(len(took)), mean: all / time.Duration(len(took)), p99: took[len(took)*99/100], busy: float64(busy) / float64(length)}
	for name, n := range sent {
		if float64(met[name]) >= 0.98*float64(n) {
			o.attain++
		}
	}
	return o
}

// TestSLOAttainsMost compares the policies on loads and seeds that none of them was
// tuned on: how many functions have 98 % of their requests in time, in the sum.
func TestSLOAttainsMost(t *testing.T) {
	attain := map[string]int{}
	for _, l := range []simLoad{
		{functions: 130, perMinute: 10, room: 10},
		{functions: 180, perMinute: 10, room: 10},
		{functions: 220, perMinute: 10, room: 20, skew: 0.9},
		{functions: 180, perMinute: 10, room: 20, skew: 0.9, fluctuating: true},
	} {
		for _, p := range policies {
			for seed := uint64(100); seed < 102; seed++ {
				o := simulate(p.make, l, seed)
				attain[p.name] += o.attain
				t.Logf("%+v, seed %d, %s: %+v", l, seed, p.name, o)
			}
		}
	}
	t.Logf("functions that attain: %v", attain)
	if attain["slo"] <= attain["rrc"] || attain["slo"] <= attain["fifo"] {
		t.Errorf("functions that attain: %v, want most with slo", attain)
	}
}
