package sim

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

// Config of a simulation.
type Config struct {
	Profile  Profile
	Workload Workload
	// Policy of the scheduler. Its queue is not limited: every request sent is
	// served.
	Policy locality.Policy
	// Pool: there is no scheduler, and Policy is not looked at. The devices of the
	// one node share a queue, as Torpor's do; see pool.
	Pool bool
	// Queue makes the order of what waits on a node, over its book. Default: by SLO.
	Queue func(*queue.Book) queue.Policy
	// Peers: models are copied from device to device where the profile says how
	// long that takes. The cache manager does not do so.
	Peers   bool
	Credits int // 0 for what the policy takes by default
	Limit   int // 0 for what the policy takes by default
	// Eviction makes the order in which models leave a device, and host memory.
	Eviction func() policy.Order
	// Staged: host memory begins with the models of the first functions, as many
	// as fit; else it begins empty.
	Staged bool
	// Lag is how long it takes until the scheduler knows what a node has
	// evicted.
	Lag time.Duration
}

// simulation is one run.
type simulation struct {
	cfg       Config
	scheduler sched.Scheduler // nil if there is a pool
	pool      *pool
	way       time.Duration // to a device and back
	now       time.Duration
	events    events
	order     uint64
	nodes     []*node
	devices   []*device
	byID      map[string]*device
	models    []*model
	jobs      map[sched.RequestID]*job
	actions   []sched.Action
	result    *collector
	err       error
}

// model of one function.
type model struct {
	Model
	index    int
	name     string
	function string
	bytes    int64 // on a device
	peak     int64 // while it is brought there
}

// job is a request on its way.
type job struct {
	queue.Request // where it waits on its node

	id     sched.RequestID
	model  *model
	sent   time.Duration
	device *device
}

// target is the share of a function's requests that should be answered within its
// SLO.
const target = 0.98

// order of what waits on a node.
func (c Config) order(b *queue.Book) queue.Policy {
	if c.Queue == nil {
		return queue.NewSLO(b)
	}
	return c.Queue(b)
}

// epoch is the start of every simulation for the scheduler.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Run simulates until the last request is answered.
func Run(ctx context.Context, cfg Config) (Result, error) {
	s, err := newSimulation(cfg)
	if err != nil {
		return Result{}, err
	}
	next := 0
	for steps := 0; ; steps++ {
		if steps%4096 == 0 && ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		requests := cfg.Workload.Requests
		switch {
		case next < len(requests) && (len(s.events) == 0 || requests[next].At <= s.events[0].at):
			s.now = requests[next].At
			s.send(sched.RequestID(next+1), requests[next])
			next++
		case len(s.events) > 0:
			e := heap.Pop(&s.events).(event)
			s.now = e.at
			e.do()
		default:
			return s.finish()
		}
		if s.err != nil {
			return Result{}, s.err
		}
	}
}

func newSimulation(cfg Config) (*simulation, error) {
	if err := cfg.Profile.check(); err != nil {
		return nil, err
	}
	s := &simulation{
		cfg: cfg, byID: map[string]*device{}, jobs: map[sched.RequestID]*job{},
		result: newCollector(cfg.Workload), way: millis(cfg.Profile.WayMS),
	}
	s.build()
	if err := s.schedule(); err != nil {
		return nil, err
	}
	if cfg.Staged {
		for _, n := range s.nodes {
			n.fill()
		}
	}
	return s, s.err
}

// schedule makes what gives requests to devices.
func (s *simulation) schedule() (err error) {
	if s.cfg.Pool {
		if len(s.nodes) != 1 {
			return fmt.Errorf("sim: devices of one node can share a queue; profile %q has %d nodes", s.cfg.Profile.Name, len(s.nodes))
		}
		s.pool = newPool(s)
		return nil
	}
	s.scheduler, err = locality.New(locality.Config{
		Policy: s.cfg.Policy, Credits: s.cfg.Credits, Limit: s.cfg.Limit, QueueLimit: len(s.cfg.Workload.Requests) + 1,
	})
	if err != nil {
		return err
	}
	s.announce()
	return nil
}

// build makes the nodes, the devices and a model for each function.
func (s *simulation) build() {
	for gi, g := range s.cfg.Profile.Groups {
		for ni := range g.Nodes {
			n := &node{
				sim: s, name: fmt.Sprintf("%s%d-%d", g.Class, gi, ni), budget: g.HostMB << 20,
				staged: s.cfg.Eviction(), inside: map[int]time.Duration{}, book: queue.NewBook(target),
			}
			n.order = s.cfg.order(n.book)
			s.nodes = append(s.nodes, n)
			for di := range g.Devices {
				d := &device{
					sim: s, node: n, id: fmt.Sprintf("%s-gpu%d", n.name, di), class: g.Class, budget: g.BudgetMB << 20,
					order: s.cfg.Eviction(), slots: map[int]*slot{}, groups: map[int]*groups{},
					loads: queue.New(n.order, passes), turns: queue.New(n.order, passes),
				}
				if di%g.DevicesPerLink == 0 {
					n.links = append(n.links, &link{sim: s, stretch: g.stretch()})
				}
				d.link = n.links[len(n.links)-1]
				d.linkName = fmt.Sprintf("%s-link%d", n.name, len(n.links)-1)
				s.devices = append(s.devices, d)
				s.byID[d.id] = d
			}
		}
	}
	for i := range s.cfg.Workload.Functions {
		m := s.cfg.Profile.Models[i%len(s.cfg.Profile.Models)]
		s.models = append(s.models, &model{
			Model: m, index: i, name: fmt.Sprintf("%s#%d", m.Name, i), function: fmt.Sprintf("f%d", i), bytes: m.MB << 20, peak: max(m.MB, m.PeakMB) << 20,
		})
	}
}

// announce tells the scheduler what there is: every function runs on every node.
func (s *simulation) announce() {
	var devices []sched.Device
	for _, d := range s.devices {
		devices = append(devices, sched.Device{ID: d.id, Node: d.node.name, Budget: d.budget, Class: d.class, Link: d.linkName})
	}
	s.step(sched.Event{Kind: sched.Devices, Devices: devices})
	var replicas []sched.Replica
	for _, n := range s.nodes {
		replicas = append(replicas, sched.Replica{ID: n.name, Node: n.name, Ready: true})
	}
	for _, m := range s.models {
		e := sched.Event{Kind: sched.Prices, Model: m.name, Bytes: m.bytes}
		for _, c := range m.Costs {
			e.Prices = append(e.Prices, s.cfg.Profile.price(c))
		}
		s.step(e)
		s.step(sched.Event{Kind: sched.Replicas, Function: m.function, Replicas: replicas})
	}
}

// send lets a request arrive.
func (s *simulation) send(id sched.RequestID, r Request) {
	m := s.models[r.Function]
	j := &job{id: id, model: m, sent: s.now}
	j.Owner, j.Number = j, uint64(id)
	s.jobs[id] = j
	if s.pool != nil {
		s.pool.arrive(j)
		return
	}
	s.step(sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: id, Function: m.function, Model: m.name, SLO: millis(m.SLOms),
	}})
}

// answered: the answer of a job is back.
func (s *simulation) answered(j *job) {
	delete(s.jobs, j.id)
	s.result.done(j, s.now)
	if s.pool != nil {
		s.pool.done(j)
		return
	}
	s.step(sched.Event{Kind: sched.Done, ID: j.id})
}

// step asks the scheduler, if there is one, and carries out what it decides.
func (s *simulation) step(e sched.Event) {
	if s.scheduler == nil {
		return
	}
	s.actions = s.scheduler.Step(epoch.Add(s.now), e, s.actions[:0])
	if len(s.actions) == 0 {
		return
	}
	// Carrying out may step again.
	given := make([]sched.Action, len(s.actions))
	copy(given, s.actions)
	for _, a := range given {
		if a.Kind != sched.Dispatch {
			s.fail("the scheduler asked for action %d (reason %d) of request %d; only a dispatch makes sense here", a.Kind, a.Reason, a.ID)
			return
		}
		d, j := s.byID[a.Device], s.jobs[a.ID]
		s.after(s.way/2, func() { d.take(j) })
	}
}

func (s *simulation) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("sim at %v: "+format, append([]any{s.now}, args...)...)
	}
}

func (s *simulation) finish() (Result, error) {
	if len(s.jobs) > 0 {
		return Result{}, fmt.Errorf("sim: %d requests were never served", len(s.jobs))
	}
	return s.result.result(s), nil
}
