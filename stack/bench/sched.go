package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

// schedBench measures what one decision of each policy costs: an arrival with the
// state it changes, or a completion with what the node then tells.
func schedBench(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("sched", flag.ContinueOnError)
	opt := schedOptions{}
	flags.IntVar(&opt.devices, "devices", 64, "devices, four on a node")
	flags.IntVar(&opt.models, "models", 10000, "models, each with a function of its own that runs on every node")
	flags.IntVar(&opt.queued, "queued", 10000, "requests that wait all the time")
	flags.IntVar(&opt.resident, "resident", 500, "models that have room on a device")
	flags.IntVar(&opt.decisions, "decisions", 100000, "decisions that are measured for each policy")
	flags.Uint64Var(&opt.seed, "seed", 1, "seed of the requests")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if opt.devices < 1 || opt.models < 1 || opt.queued < 1 || opt.resident < 2 || opt.decisions < 1 {
		return nil, fmt.Errorf("devices, models, queued and decisions: want at least 1, resident: at least 2; have %+v", opt)
	}
	figures := map[string]any{
		"benchmark": "sched", "go": runtime.Version(), "cpus": runtime.NumCPU(), "seed": opt.seed,
		"devices": opt.devices, "models": opt.models, "queued": opt.queued, "resident": opt.resident,
	}
	for _, policy := range locality.Policies() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		result, err := opt.measure(policy)
		if err != nil {
			return nil, err
		}
		fmt.Printf("%-7s p50 %5d ns  p99 %6d ns  max %8d ns  %.4f allocations a decision\n",
			policy, result["decision_p50_ns"], result["decision_p99_ns"], result["decision_max_ns"], result["allocs_exact"])
		figures[string(policy)] = result
	}
	return figures, nil
}

type schedOptions struct {
	devices, models, queued, resident, decisions int
	seed                                         uint64
}

func (o schedOptions) measure(policy locality.Policy) (map[string]any, error) {
	c, err := newSchedCluster(o, policy)
	if err != nil {
		return nil, err
	}
	c.visitAll()
	for c.waiting < o.queued {
		c.arrive(int(c.zipf.Uint64()))
	}
	for range o.decisions / 4 { // let the state settle
		c.complete()
		c.arrive(int(c.zipf.Uint64()))
	}
	took := make([]int64, 0, o.decisions)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for len(took) < o.decisions {
		m := int(c.zipf.Uint64())
		began := time.Now()
		if len(took)%2 == 0 {
			c.complete()
		} else {
			c.arrive(m)
		}
		took = append(took, int64(time.Since(began)))
	}
	runtime.ReadMemStats(&after)
	slices.Sort(took)
	allocs := float64(after.Mallocs-before.Mallocs) / float64(len(took))
	return map[string]any{
		"decision_p50_ns": took[len(took)/2], "decision_p99_ns": took[len(took)*99/100], "decision_max_ns": took[len(took)-1],
		"allocs": int(allocs), "allocs_exact": to4(allocs), "hit_ratio": to2(float64(c.hits) / float64(c.dispatched)),
	}, nil
}

// schedCluster stands in for the nodes: it loads what is dispatched at once and
// lets the model go that a device got first.
type schedCluster struct {
	schedOptions
	s          *locality.Scheduler
	zipf       *rand.Zipf
	now        time.Time
	last       sched.RequestID
	waiting    int
	functions  []string
	names      []string
	serving    []serving
	model      map[sched.RequestID]int
	nodes      map[string]*schedNode
	actions    []sched.Action
	hits       int
	dispatched int
}

type serving struct {
	id     sched.RequestID
	device string
	model  int
}

// schedNode is the memory of one device.
type schedNode struct {
	ring []int // models in order of arrival
	next int
	has  []bool
}

func newSchedCluster(o schedOptions, policy locality.Policy) (*schedCluster, error) {
	s, err := locality.New(locality.Config{Policy: policy, QueueLimit: 4 * o.queued})
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(o.seed, 1))
	c := &schedCluster{
		schedOptions: o, s: s, zipf: rand.NewZipf(rng, 1.1, 10, uint64(o.models-1)),
		now: time.Unix(0, 0), model: make(map[sched.RequestID]int, 8*o.queued), nodes: map[string]*schedNode{},
	}
	var devices []sched.Device
	var replicas []sched.Replica
	for i := range o.devices {
		d := sched.Device{
			ID: fmt.Sprint("gpu", i), Node: fmt.Sprint("node", i/4), Budget: int64(o.resident) * 100,
			Class: fmt.Sprint("class", i%2), Link: fmt.Sprint("link", i/2),
		}
		devices = append(devices, d)
		c.nodes[d.ID] = &schedNode{ring: make([]int, o.resident), has: make([]bool, o.models)}
		for k := range c.nodes[d.ID].ring {
			c.nodes[d.ID].ring[k] = -1
		}
		if i%4 == 0 {
			replicas = append(replicas, sched.Replica{ID: "r" + d.Node, Node: d.Node, Ready: true})
		}
	}
	c.step(sched.Event{Kind: sched.Devices, Devices: devices})
	for i := range o.models {
		c.functions, c.names = append(c.functions, fmt.Sprint("f", i)), append(c.names, fmt.Sprint("m", i))
		compute := time.Duration(1+i%20) * time.Millisecond
		c.step(sched.Event{Kind: sched.Replicas, Function: c.functions[i], Replicas: replicas})
		c.step(sched.Event{Kind: sched.Prices, Model: c.names[i], Bytes: 100, Prices: []sched.Price{
			{Class: "class0", Load: 10 * compute, Swap: compute / 2, Compute: compute},
			{Class: "class1", Load: 10 * compute, Swap: compute, Compute: 2 * compute},
		}})
	}
	return c, nil
}

func (c *schedCluster) step(e sched.Event) { c.actions = c.s.Step(c.now, e, c.actions[:0]) }

// visitAll lets every function have had a request.
func (c *schedCluster) visitAll() {
	for m := range c.functions {
		c.arrive(m)
	}
	for len(c.serving) > 0 {
		c.complete()
	}
}

func (c *schedCluster) arrive(m int) {
	c.last++
	c.waiting++
	c.model[c.last] = m
	c.step(sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: c.last, Function: c.functions[m], Model: c.names[m], SLO: time.Duration(m%3) * 100 * time.Millisecond,
	}})
	c.follow()
}

// complete ends the request that has been served longest.
func (c *schedCluster) complete() {
	c.now = c.now.Add(200 * time.Microsecond)
	done := c.serving[0]
	copy(c.serving, c.serving[1:])
	c.serving = c.serving[:len(c.serving)-1]
	delete(c.model, done.id)
	c.step(sched.Event{Kind: sched.Done, ID: done.id})
	c.follow()
}

// follow carries the dispatches of the last step out.
func (c *schedCluster) follow() {
	first := len(c.serving)
	for _, a := range c.actions {
		if a.Kind == sched.Dispatch {
			c.serving = append(c.serving, serving{a.ID, a.Device, c.model[a.ID]})
			c.waiting--
			c.dispatched++
		}
	}
	for _, started := range c.serving[first:] {
		n := c.nodes[started.device]
		if n.has[started.model] {
			c.hits++
			continue
		}
		if old := n.ring[n.next]; old >= 0 {
			n.has[old] = false
			c.step(sched.Event{Kind: sched.Evicted, Device: started.device, Model: c.names[old]})
		}
		n.ring[n.next], n.has[started.model] = started.model, true
		n.next = (n.next + 1) % len(n.ring)
		c.step(sched.Event{Kind: sched.Resident, Device: started.device, Model: c.names[started.model]})
	}
}
