package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// fakeNode is a cache manager that says what the test sends.
type fakeNode struct {
	messages chan api.NodeStatus // closed: the stream breaks

	mu      sync.Mutex
	refuse  error
	refs    []api.References
	streams int

	prefetched []api.PrefetchRequest
}

func (n *fakeNode) WatchStatus(ctx context.Context, f func(api.NodeStatus)) error {
	n.mu.Lock()
	n.streams++
	n.mu.Unlock()
	for {
		select {
		case m := <-n.messages:
			if m.Node == "" {
				return errors.New("connection lost")
			}
			f(m)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *fakeNode) PutReferences(_ context.Context, r api.References) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return n.refuse
	}
	n.refs = append(n.refs, r)
	return nil
}

func (n *fakeNode) Prefetch(_ context.Context, p api.PrefetchRequest) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prefetched = append(n.prefetched, p)
	return n.refuse
}

// last is the set of references sent last.
func (n *fakeNode) last() (api.References, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.refs) == 0 {
		return api.References{}, 0
	}
	return n.refs[len(n.refs)-1], len(n.refs)
}

func model(digest string, hits int64, names ...api.ModelName) api.ModelStatus {
	return api.ModelStatus{Digest: digest, Bytes: 1 << 20, Names: names, Stats: api.CacheStats{Hits: hits, Swaps: 2, Loads: 1},
		Instances: []api.InstanceStatus{{Device: "cpu", State: api.StateResident}}}
}

func playNodes(t *testing.T, test func(t *testing.T, n *fakeNode, rt *fakeRuntime, nodes *Nodes)) {
	synctest.Test(t, func(t *testing.T) {
		n, rt := &fakeNode{messages: make(chan api.NodeStatus)}, newFakeRuntime()
		nodes := NewNodes(map[string]NodeClient{"/run/oip.sock": n}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { nodes.Run(ctx, rt, &heard{}) })
		test(t, n, rt, nodes)
		cancel()
		running.Wait()
	})
}

func TestNodesFollowTheStatus(t *testing.T) {
	playNodes(t, func(t *testing.T, n *fakeNode, _ *fakeRuntime, nodes *Nodes) {
		if v := nodes.Views()[0]; v.Connected || v.Problem == "" {
			t.Errorf("before: %+v", v)
		}
		n.messages <- api.NodeStatus{Generation: 1, Epoch: "e1", Full: true, Node: "n1", Host: &api.PoolStatus{Budget: 10},
			Devices: []api.DeviceStatus{{ID: "cpu"}}, Models: []api.ModelStatus{model("b", 1), model("a", 1)}}
		synctest.Wait()
		before := nodes.Views()[0]
		n.messages <- api.NodeStatus{Generation: 2, Epoch: "e1", Node: "n1", Gone: []string{"a"},
			Devices: []api.DeviceStatus{{ID: "cpu", Running: 1}}, Models: []api.ModelStatus{model("b", 5), model("c", 0)}}
		synctest.Wait()
		after := nodes.Views()[0]
		if len(before.Models) != 2 || before.Models[0].Digest != "a" || before.Models[1].Stats.Hits != 1 || before.Devices[0].Running != 0 {
			t.Errorf("the former view changed: %+v", before)
		}
		if len(after.Models) != 2 || after.Models[0].Stats.Hits != 5 || after.Models[1].Digest != "c" ||
			after.Devices[0].Running != 1 || after.Host.Budget != 10 || !after.Connected {
			t.Errorf("after: %+v", after)
		}
		n.messages <- api.NodeStatus{} // breaks off
		synctest.Wait()
		if v := nodes.Views()[0]; v.Connected || !strings.Contains(v.Problem, "connection lost") {
			t.Errorf("lost: %+v", v)
		}
		time.Sleep(time.Second)
		n.messages <- api.NodeStatus{Generation: 1, Epoch: "e2", Full: true, Node: "n1"}
		synctest.Wait()
		if v := nodes.Views()[0]; !v.Connected || v.Epoch != "e2" || len(v.Models) != 0 {
			t.Errorf("again: %+v", v)
		}
	})
}

func TestNodesAreToldWhichFunctionsExist(t *testing.T) {
	playNodes(t, func(t *testing.T, n *fakeNode, rt *fakeRuntime, _ *Nodes) {
		b := &bench{rt: rt}
		b.deployed(t, nil, 1)
		synctest.Wait()
		if _, sent := n.last(); sent != 0 {
			t.Error("told a node that is not connected")
		}
		n.messages <- api.NodeStatus{Epoch: "e1", Full: true, Node: "n1"}
		synctest.Wait()
		first, sent := n.last()
		want := []api.FunctionRef{{Namespace: "openfaas-fn", Name: "digits", UID: "1"}}
		if sent != 1 || !reflect.DeepEqual(first.Functions, want) || first.At.IsZero() {
			t.Fatalf("sent %d, last %+v", sent, first)
		}
		rt.Scale(t.Context(), runtime.ID{Namespace: "openfaas-fn", Name: "digits"}, 3)
		synctest.Wait()
		if _, sent := n.last(); sent != 1 {
			t.Error("told although the set is the same")
		}
		n.mu.Lock()
		n.refuse = errors.New("not now")
		n.mu.Unlock()
		b.deployed(t, func(d *types.FunctionDeployment) { d.Service = "another" }, 1)
		synctest.Wait()
		n.mu.Lock()
		n.refuse = nil
		n.mu.Unlock()
		time.Sleep(time.Second) // tried again
		synctest.Wait()
		second, sent := n.last()
		if sent != 2 || len(second.Functions) != 2 || second.Functions[0].Name != "another" || second.Generation <= first.Generation {
			t.Fatalf("sent %d, last %+v", sent, second)
		}
		n.messages <- api.NodeStatus{} // breaks off, and comes back empty
		time.Sleep(time.Second)
		n.messages <- api.NodeStatus{Epoch: "e2", Full: true, Node: "n1"}
		synctest.Wait()
		third, sent := n.last()
		if sent != 3 || third.Generation <= second.Generation || len(third.Functions) != 2 {
			t.Errorf("sent %d, last %+v", sent, third)
		}
	})
}

func TestReportAddsUpModels(t *testing.T) {
	b := start(t, newFakeRuntime())
	b.deployed(t, nil, 1)
	id := runtime.ID{Namespace: "openfaas-fn", Name: "digits"}
	b.rt.change(id, func(was *runtime.Function) (*runtime.Function, error) {
		now := *was
		now.Revisions = []string{"2", "1"} // an update is under way
		return &now, nil
	})
	ref, next := api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "2"}, api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "1"}
	gone := api.FunctionRef{Namespace: "openfaas-fn", Name: "gone", UID: "0"}
	n := NewNodes(map[string]NodeClient{"a": nil}, slog.New(slog.DiscardHandler))
	n.nodes[0].view.Store((&NodeView{}).apply(api.NodeStatus{Full: true, Node: "n1", Host: &api.PoolStatus{Used: 1 << 30, Budget: 2 << 30},
		Devices: []api.DeviceStatus{{ID: "cpu", Engine: "onnxruntime", Budget: 3 << 20, Resident: 1536}},
		Models: []api.ModelStatus{
			model("x", 5, api.ModelName{Function: ref, Name: "m", Version: "1"}, api.ModelName{Function: ref, Name: "m", Version: "2"},
				api.ModelName{Function: next, Name: "m", Version: "2"}),
			model("y", 7, api.ModelName{Function: ref, Name: "k", Version: "1"}, api.ModelName{Function: gone, Name: "k", Version: "1"}),
		}}))
	b.cfg.Nodes = n
	report := b.report()
	if len(report.Functions) == 1 && len(report.Functions[0].Models) > 0 && report.Functions[0].Models[0].lost {
		t.Error("the node counts as lost")
	}
	if len(report.Functions) != 1 || len(report.Functions[0].Models) != 3 {
		t.Fatalf("got %+v", report.Functions)
	}
	if f := report.Functions[0]; f.Hits != 12 || f.Swaps != 4 || f.Loads != 2 {
		t.Errorf("counted %+v", f)
	}
	var table strings.Builder
	report.table(&table)
	for _, want := range []string{"onnxruntime  3.0 MiB  1.5 KiB", "1.0 GiB of 2.0 GiB", "m/2", "resident on n1/cpu", "warning: development only", "not enforced: memory"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is missing in\n%s", want, table.String())
		}
	}
}

func TestTableTellsWhatIsWrong(t *testing.T) {
	file := modelReport{Name: "m", Version: "1", Digest: "x", Node: "n1"}
	bad := modelReport{Name: "m", Version: "2", Digest: "y", Node: "n1",
		Instances: []api.InstanceStatus{{Device: "cpu", State: api.StateFailed, Reason: "no such operator"}}}
	lost := modelReport{Name: "m", Version: "1", Node: "n1", Instances: []api.InstanceStatus{{Device: "cpu", State: api.StateResident}}, lost: true}
	for name, c := range map[string]struct {
		functions     []functionReport
		want, without string
	}{
		"not ready":   {[]functionReport{{Name: "f", Namespace: "n", Problem: "its model is bad", Models: []modelReport{file}}}, "problem: f.n: its model is bad\n", "note:"},
		"failed once": {[]functionReport{{Name: "f", Namespace: "n", Models: []modelReport{bad}}}, "problem: f.n: model m/2 on n1/cpu: no such operator\n", "note:"},
		"failed for long": {[]functionReport{{Name: "f", Namespace: "n", Problem: "not ready: no such operator", Models: []modelReport{bad}}},
			"problem: f.n: not ready: no such operator\n", "m/2 on n1/cpu: no"},
		"node lost":      {[]functionReport{{Name: "f", Models: []modelReport{lost}}}, "n1 is not connected", "resident"},
		"without models": {[]functionReport{{Name: "f", Namespace: "n", Problem: "no image"}}, "problem: f.n: no image\n", "note:"},
		"one file twice": {[]functionReport{{Name: "f", Models: []modelReport{file, file}}}, "m/1", "note:"},
		"shared file":    {[]functionReport{{Name: "f", Models: []modelReport{file}}, {Name: "g", Models: []modelReport{file}}}, "equal files", "problem:"},
	} {
		var table strings.Builder
		gpuReport{Functions: c.functions}.table(&table)
		if !strings.Contains(table.String(), c.want) || strings.Contains(table.String(), c.without) {
			t.Errorf("%s: want %q, and no %q in\n%s", name, c.want, c.without, table.String())
		}
	}
}

// silentRuntime has nothing to warn of.
type silentRuntime struct{ *fakeRuntime }

func (silentRuntime) Info() runtime.Info { return runtime.Info{} }

func TestReportHasNoNull(t *testing.T) {
	b := start(t, newFakeRuntime())
	b.cfg.Runtime = silentRuntime{b.rt}
	b.deployed(t, nil, 1)
	ref := api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "1"}
	b.cfg.Nodes = NewNodes(map[string]NodeClient{"away": nil, "empty": nil, "there": nil}, slog.New(slog.DiscardHandler))
	empty, there := b.cfg.Nodes.nodes[1], b.cfg.Nodes.nodes[2]
	empty.view.Store(empty.view.Load().apply(api.NodeStatus{Full: true, Node: "n1"}))
	there.view.Store(there.view.Load().apply(api.NodeStatus{Full: true, Node: "n2", Models: []api.ModelStatus{{
		Digest: "x", Names: []api.ModelName{{Function: ref, Name: "m", Version: "1"}},
	}}}))
	_, body := b.ask(t, b.request(t, "GET", "/system/gpu?format=json", nil))
	if strings.Contains(strings.ReplaceAll(body, `"resident_bytes":0,"instances":null`, ""), "null") { // what the node said
		t.Errorf("a list is null: %s", body)
	}
}

func TestWantsTable(t *testing.T) {
	for _, c := range []struct {
		query, accept, agent string
		want                 bool
	}{
		{"", "", "Go-http-client/1.1", false},
		{"", "*/*", "curl/8.0", true},
		{"", "application/json", "curl/8.0", false},
		{"", "text/plain", "", true},
		{"", "application/json, text/plain, */*", "axios", false},
		{"?format=json", "text/plain", "curl/8.0", false},
		{"?format=table", "application/json", "", true},
	} {
		r := httptest.NewRequest("GET", "/system/gpu"+c.query, nil)
		r.Header.Set("Accept", c.accept)
		r.Header.Set("User-Agent", c.agent)
		if got := wantsTable(r); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
