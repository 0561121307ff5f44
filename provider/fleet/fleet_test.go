package fleet

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture is what a scheduler makes of the events: it takes no notice of what it
// does not know.
type picture struct {
	devices  map[string]sched.Device
	models   map[string]sched.Event // the last Prices
	resident map[string]bool        // MODEL@DEVICE
	staged   map[string]bool        // MODEL@NODE
	failed   map[string]time.Time   // until when, MODEL@DEVICE
}

func newPicture() *picture {
	return &picture{map[string]sched.Device{}, map[string]sched.Event{}, map[string]bool{}, map[string]bool{}, map[string]time.Time{}}
}

func (p *picture) take(events []sched.Event) {
	for _, e := range events {
		switch e.Kind {
		case sched.Devices:
			p.devices = map[string]sched.Device{}
			for _, d := range e.Devices {
				p.devices[d.ID] = d
			}
			p.forget()
		case sched.Prices:
			if e.Bytes > 0 {
				p.models[e.Model] = e
				continue
			}
			delete(p.models, e.Model)
			p.forget()
		case sched.Failed:
			if e.At.IsZero() {
				delete(p.failed, e.Model+"@"+e.Device)
			} else if p.models[e.Model].Bytes > 0 && p.devices[e.Device].ID != "" {
				p.failed[e.Model+"@"+e.Device] = e.At
			}
		case sched.Resident, sched.Evicted:
			set(p.resident, e.Model+"@"+e.Device, e.Kind == sched.Resident && p.models[e.Model].Bytes > 0 && p.devices[e.Device].ID != "")
		case sched.Staged, sched.Unstaged:
			set(p.staged, e.Model+"@"+e.Node, e.Kind == sched.Staged && p.models[e.Model].Bytes > 0 && p.hasNode(e.Node))
		}
	}
}

func set(m map[string]bool, key string, there bool) {
	if there {
		m[key] = true
	} else {
		delete(m, key)
	}
}

func (p *picture) hasNode(node string) bool {
	for _, d := range p.devices {
		if d.Node == node {
			return true
		}
	}
	return false
}

// forget drops what was on devices and nodes that are gone, and failures of models
// that are.
func (p *picture) forget() {
	for key := range p.failed {
		model, device, _ := strings.Cut(key, "@")
		if p.models[model].Bytes == 0 || p.devices[device].ID == "" {
			delete(p.failed, key)
		}
	}
	for model := range p.models {
		for key := range p.resident {
			if device, ok := after(key, model); ok && p.devices[device].ID == "" {
				delete(p.resident, key)
			}
		}
		for key := range p.staged {
			if node, ok := after(key, model); ok && !p.hasNode(node) {
				delete(p.staged, key)
			}
		}
	}
}

func after(key, model string) (string, bool) {
	if len(key) > len(model) && key[:len(model)+1] == model+"@" {
		return key[len(model)+1:], true
	}
	return "", false
}

// world is nodes that change at random, and what their streams say.
type world struct {
	rng   *rand.Rand
	nodes []*worldNode
}

type worldNode struct {
	address, name string
	connected     bool
	devices       []api.DeviceStatus
	models        map[string]api.ModelStatus
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 3))}
	for i := range 3 {
		n := &worldNode{address: fmt.Sprint("a", i), name: fmt.Sprint("n", i), models: map[string]api.ModelStatus{}}
		for d := range 1 + i%2 {
			n.devices = append(n.devices, api.DeviceStatus{ID: fmt.Sprint("d", d), Name: fmt.Sprint("kind ", d), Engine: "e", Budget: 1000, Slots: 1 + d})
		}
		w.nodes = append(w.nodes, n)
	}
	return w
}

// model makes up how a model is on a node, after how it was.
func (w *world) model(n *worldNode, was api.ModelStatus) api.ModelStatus {
	m := was
	m.Staged = w.rng.IntN(2) == 0
	m.StageNs = 0
	if m.Staged {
		m.StageNs = 1 + w.rng.Int64N(1e9)
	}
	m.Names = nil
	for i := range w.rng.IntN(3) {
		m.Names = append(m.Names, api.ModelName{
			Function: api.FunctionRef{Namespace: "ns", Name: fmt.Sprint("f", i), UID: "1"}, Name: fmt.Sprint("m", w.rng.IntN(2)), Version: "1",
		})
	}
	m.Instances = nil
	for _, d := range n.devices {
		state := []api.State{"", api.StateLoading, api.StateResident, api.StateDraining, api.StateFailed}[w.rng.IntN(5)]
		if state != "" {
			retry := ""
			if state == api.StateFailed {
				retry = time.Unix(w.rng.Int64N(100), 5).UTC().Format(time.RFC3339Nano)
			}
			m.Instances = append(m.Instances, api.InstanceStatus{Device: d.ID, State: state, RetryAt: retry, SwapNs: w.rng.Int64N(1e8), SwapBytes: 100, Runs: w.rng.Int64N(50), ComputeNs: w.rng.Int64N(1e9)})
		}
	}
	return m
}

func (n *worldNode) full() api.NodeStatus {
	s := api.NodeStatus{Node: n.name, Full: true, Devices: n.devices}
	for _, digest := range slices.Sorted(maps.Keys(n.models)) {
		s.Models = append(s.Models, n.models[digest])
	}
	return s
}

// next changes something and tells the fleet.
func (w *world) next(f *Fleet) []sched.Event {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch p := w.rng.IntN(20); {
	case !n.connected || p == 0:
		n.connected = true
		return f.Heard(n.address, n.full())
	case p == 1:
		n.connected = false
		return f.Lost(n.address)
	case p == 2: // a restart: nothing is resident, all counts begin anew
		n.models = map[string]api.ModelStatus{}
		return f.Heard(n.address, n.full())
	case p == 3 && len(n.models) > 0:
		digest := slices.Sorted(maps.Keys(n.models))[0]
		delete(n.models, digest)
		return f.Heard(n.address, api.NodeStatus{Node: n.name, Gone: []string{digest}})
	}
	digest := fmt.Sprint("sha", w.rng.IntN(4))
	was, ok := n.models[digest]
	if !ok {
		was = api.ModelStatus{Digest: digest, Size: 100, Bytes: 120}
	}
	n.models[digest] = w.model(n, was)
	return f.Heard(n.address, api.NodeStatus{Node: n.name, Models: []api.ModelStatus{n.models[digest]}})
}

// TestEventsTellWhatIs: whatever happens to nodes and their streams, who follows
// the events knows exactly what there is on the nodes that are connected.
func TestEventsTellWhatIs(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	t.Logf("first seed %d", first)
	for seed := first; seed < first+30; seed++ {
		w, f, p := newWorld(seed), New(Config{Spare: 1}), newPicture()
		for step := range 200 {
			p.take(w.next(f))
			w.compare(t, p, f)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func (w *world) compare(t *testing.T, p *picture, f *Fleet) {
	t.Helper()
	devices, models, resident, staged := []string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	failed := map[string]time.Time{}
	for _, n := range w.nodes {
		if !n.connected {
			continue
		}
		for _, d := range n.devices {
			devices = append(devices, n.name+"/"+d.ID)
		}
		for digest, m := range n.models {
			models[digest] = true
			if m.Staged {
				staged[digest+"@"+n.name] = true
			}
			for _, i := range m.Instances {
				if i.State == api.StateResident {
					resident[digest+"@"+n.name+"/"+i.Device] = true
				}
				if at, err := time.Parse(time.RFC3339Nano, i.RetryAt); err == nil {
					failed[digest+"@"+n.name+"/"+i.Device] = at
				}
			}
			for _, name := range m.Names {
				if got, ok := f.Find([]api.FunctionRef{name.Function}, name.Name, name.Version); !ok || got.Digest == "" {
					t.Errorf("%+v is not found", name)
				}
			}
		}
	}
	slices.Sort(devices)
	if got := slices.Sorted(maps.Keys(p.devices)); !slices.Equal(got, devices) {
		t.Errorf("devices %v, want %v", got, devices)
	}
	if got, want := slices.Sorted(maps.Keys(p.models)), slices.Sorted(maps.Keys(models)); !slices.Equal(got, want) {
		t.Errorf("models %v, want %v", got, want)
	}
	if !maps.Equal(p.resident, resident) {
		t.Errorf("resident %v, want %v", p.resident, resident)
	}
	if !maps.EqualFunc(p.failed, failed, time.Time.Equal) {
		t.Errorf("failed %v, want %v", p.failed, failed)
	}
	if !maps.Equal(p.staged, staged) {
		t.Errorf("staged %v, want %v", p.staged, staged)
	}
	for digest, e := range p.models {
		for _, d := range p.devices {
			if !slices.ContainsFunc(e.Prices, func(p sched.Price) bool { return p.Class == d.Class }) {
				t.Errorf("%s has no price on %s: %+v", digest, d.Class, e.Prices)
			}
		}
	}
}
