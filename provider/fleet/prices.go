package fleet

import (
	"math"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// What is assumed as long as nothing was measured.
const (
	assumedLink    = 8.0 // bytes per nanosecond from host memory to a device
	assumedDisk    = 1.0 // bytes per nanosecond from disk to host memory
	assumedCompute = 5 * float64(time.Millisecond)
)

// news is by which part a price has to change to be told.
const news = 0.1

// class is a kind of device: those of a class cost the same.
type class struct {
	name    string
	devices int
	link    estimate // bytes per nanosecond
	compute estimate // nanoseconds, over all models
	told    float64  // link when the prices were told that are estimated by it
}

// model is a file, over all nodes.
type model struct {
	digest string
	size   int64 // of the file in bytes
	bytes  int64 // on a device
	nodes  int   // that have it
	load   estimate
	costs  map[*class]*cost

	told      []sched.Price
	toldBytes int64
}

// cost of a model on a class, in nanoseconds.
type cost struct{ swap, compute estimate }

func (m *model) cost(c *class) *cost {
	if m.costs[c] == nil {
		m.costs[c] = &cost{}
	}
	return m.costs[c]
}

// measureStaging takes in how long it took to stage m.
func (f *Fleet) measureStaging(m *model, before, now int64) {
	if now <= 0 || now == before {
		return
	}
	m.load.add(float64(now), 1)
	if m.size > 0 {
		f.disk.add(float64(m.size)/float64(now), 1)
	}
}

// measure takes in what a node counted for m on a device since it last did.
func (m *model) measure(c *class, before, now api.InstanceStatus) {
	if now.SwapNs > 0 && (now.SwapNs != before.SwapNs || now.SwapBytes != before.SwapBytes) {
		m.cost(c).swap.add(float64(now.SwapNs), 1)
		if now.SwapBytes > 0 {
			c.link.add(float64(now.SwapBytes)/float64(now.SwapNs), 1)
		}
	}
	runs, took := now.Runs-before.Runs, now.ComputeNs-before.ComputeNs
	if runs < 0 { // another run of the cache manager
		runs, took = now.Runs, now.ComputeNs
	}
	if runs > 0 && took > 0 {
		m.cost(c).compute.add(float64(took)/float64(runs), int(min(runs, memory)))
		c.compute.add(float64(took)/float64(runs), 1)
	}
}

// price is what m costs on c, measured or estimated.
func (f *Fleet) price(m *model, c *class) sched.Price {
	k := m.cost(c)
	return sched.Price{
		Class:     c.name,
		Load:      time.Duration(m.load.or(float64(m.size) / f.disk.or(assumedDisk))),
		Swap:      time.Duration(k.swap.or(float64(m.bytes) / c.link.or(assumedLink))),
		Compute:   time.Duration(k.compute.or(c.compute.or(assumedCompute))),
		Estimated: !m.load.known() || !k.swap.known() || !k.compute.known(),
	}
}

// tell appends the prices of m if they differ from those that were told last.
func (f *Fleet) tell(m *model, events []sched.Event) []sched.Event {
	f.scratch = f.scratch[:0]
	for _, c := range f.classes {
		if c.devices > 0 {
			f.scratch = append(f.scratch, f.price(m, c))
		}
	}
	bytes := max(1, m.bytes)
	if m.toldBytes == bytes && slices.EqualFunc(m.told, f.scratch, alike) {
		return events
	}
	m.told, m.toldBytes = slices.Clone(f.scratch), bytes
	return append(events, sched.Event{Kind: sched.Prices, Model: m.digest, Bytes: bytes, Prices: m.told})
}

// alike reports whether b is no news after a.
func alike(a, b sched.Price) bool {
	return a.Class == b.Class && a.Estimated == b.Estimated &&
		near(a.Load, b.Load) && near(a.Swap, b.Swap) && near(a.Compute, b.Compute)
}

func near(a, b time.Duration) bool {
	return math.Abs(float64(a-b)) <= news*float64(max(a, b))
}

// tellEstimated tells the prices again that are estimated by the rate of a link
// which turned out to be another.
func (f *Fleet) tellEstimated(events []sched.Event) []sched.Event {
	changed := false
	for _, c := range f.classes {
		if now := c.link.or(assumedLink); math.Abs(now-c.told) > 2*news*c.told {
			c.told, changed = now, true
		}
	}
	if !changed {
		return events
	}
	return f.tellAll(events)
}

func (f *Fleet) tellAll(events []sched.Event) []sched.Event {
	for _, digest := range f.order {
		events = f.tell(f.models[digest], events)
	}
	return events
}
