package fleet

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Answer is what an answer tells of the request that was given to a device.
type Answer struct {
	Given  string // the device, as schedulers know it
	Model  string // digest
	Cache  string // the outcome, "" if the answer says nothing of a model
	Device string // that computed, as its node calls it
	Timing api.Timing
	Took   time.Duration // from when it was sent until the head of the answer came
}

// Answered corrects the picture by an answer, before its node does.
func (f *Fleet) Answered(a Answer) []sched.Event {
	given := f.devices[a.Given]
	m := f.models[a.Model]
	if given == nil || m == nil {
		return nil
	}
	c := given.node.models[a.Model]
	if c == nil {
		return nil
	}
	computed := given
	if a.Device != given.own {
		computed = f.devices[given.node.name+"/"+a.Device]
	}
	var events []sched.Event
	if a.Cache == api.CacheHit || a.Cache == api.CacheSwap || a.Cache == api.CacheLoad {
		if computed != nil {
			events = f.computed(computed, c, m, a)
		}
	} else {
		computed = nil
	}
	if computed != given && !c.resident[given.own] {
		// The scheduler thought that it would be there now.
		events = append(events, sched.Event{Kind: sched.Evicted, Device: given.ID, Model: m.digest})
	}
	return events
}

// computed takes in that m is on d, and what it took.
func (f *Fleet) computed(d *device, c *copyOf, m *model, a Answer) []sched.Event {
	events := c.set(d, m, true, nil)
	k := m.cost(d.class)
	if a.Timing.Compute > 0 && k.compute.samples < settled {
		k.compute.add(float64(a.Timing.Compute), 1)
		events = f.tell(m, events)
	}
	d.flight.add(a.Took-a.Timing.Queue-a.Timing.Swap, a.Timing.Compute)
	if credits := f.credits(d); credits != d.Credits {
		d.Credits = credits
		events = append(events, f.announce())
	}
	return events
}
