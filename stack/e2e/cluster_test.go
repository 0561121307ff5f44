package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// clustered starts two nodes, and functions f0 to f(n-1) on both with a model each.
func clustered(t *testing.T, functions int, variables ...string) *lab.Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c, err := lab.StartCluster(t.Context(), programs, lab.ClusterOptions{Dir: dir, Nodes: 2, Provider: variables})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error("stop:", err)
		}
		for _, n := range c.Nodes {
			if t.Failed() {
				t.Logf("%s:\n%s", n.Name, n.Cachemgr.Tail())
			}
		}
	})
	for i := range functions {
		name := fmt.Sprint("f", i)
		model := generate(t, modelgen.Spec{Family: modelgen.SqueezeNet, Seed: uint64(i + 1), Resolution: 64})
		build(t, c.Lab, name, "go-trt", "stack/bench/function", map[string][]byte{"m/1": model})
		deploy(t, c.Lab, types.FunctionDeployment{Service: name, Image: name, EnvVars: raw("input", "output", "1,3,64,64")})
	}
	for i := range functions {
		ready(t, c, fmt.Sprint("f", i), 2)
	}
	return c
}

// ready waits until the provider knows so many devices for a function's model.
func ready(t *testing.T, c *lab.Cluster, function string, devices int) {
	t.Helper()
	within(t, 30*time.Second, func() error {
		if e := explained(t, c, function); len(e.Devices) != devices {
			return fmt.Errorf("%s can go to %d devices, want %d: %s", function, len(e.Devices), devices, e.Why)
		}
		return nil
	})
}

func explained(t *testing.T, c *lab.Cluster, function string) (e sched.Explanation) {
	t.Helper()
	path := "/system/gpu/explain?" + url.Values{"function": {function}, "namespace": {lab.Namespace}}.Encode()
	if err := c.System(t.Context(), http.MethodGet, path, nil, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

var blank = floats(make([]float32, 3*64*64)...)

// callAll calls every function in turn, so often.
func callAll(t *testing.T, c *lab.Cluster, functions, rounds int) {
	t.Helper()
	for range rounds {
		for i := range functions {
			a := invoke(t, c.Lab, fmt.Sprint("f", i), "", blank)
			if a.Status != http.StatusOK {
				t.Fatalf("f%d answered %d: %s", i, a.Status, a.Body)
			}
		}
	}
}

// copies is on how many devices models are, or are about to be, all together.
func copies(t *testing.T, c *lab.Cluster, functions int) (n int) {
	t.Helper()
	for i := range functions {
		for _, d := range explained(t, c, fmt.Sprint("f", i)).Devices {
			if d.Place == "resident" || d.Place == "coming" {
				n++
			}
		}
	}
	return n
}

// TestRequestsGoWhereTheirModelIs: with room for everything, a policy that looks
// for the model fetches each once; the one that does not fetches it on each node,
// although the other has it: those are false misses.
func TestRequestsGoWhereTheirModelIs(t *testing.T) {
	const functions, rounds = 3, 4
	for _, policy := range []string{"lalb", "lalbo3", "swap", "lb"} {
		t.Run(policy, func(t *testing.T) {
			c := clustered(t, functions, "policy="+policy, "credits=1")
			callAll(t, c, functions, rounds)
			if got := copies(t, c, functions); policy == "lb" && got <= functions || policy != "lb" && got != functions {
				t.Errorf("%d models were fetched %d times for %d requests", functions, got, functions*rounds)
			}
			e := explained(t, c, "f0")
			if e.Policy != policy || e.Device == "" || !strings.HasPrefix(e.Device, "node-") || len(e.Devices) != 2 {
				t.Errorf("explained as %+v", e)
			}
			if policy != "lb" && e.Devices[0].Place != "resident" {
				t.Errorf("the cheapest device is %+v", e.Devices[0])
			}
		})
	}
}

// TestNodeDies: the cache manager of a node is killed under load. Requests get
// honest answers, and once the provider knows, all of them go to the other node;
// when it is back, it is used again.
func TestNodeDies(t *testing.T) {
	c := clustered(t, 2)
	callAll(t, c, 2, 2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var answered, failed atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				a, err := c.Invoke(ctx, fmt.Sprint("f", i%2), "", blank)
				switch {
				case ctx.Err() != nil:
				case err != nil:
					t.Errorf("no answer: %v", err)
				case a.Status == http.StatusOK:
					answered.Add(1)
				case a.Status == http.StatusBadGateway || a.Status == http.StatusServiceUnavailable:
					failed.Add(1)
				default:
					t.Errorf("answered %d: %s", a.Status, a.Body)
				}
			}
		})
	}
	// count waits for so many answers more, and returns how many failed meanwhile.
	count := func(n int64) int64 {
		from, before := answered.Load(), failed.Load()
		within(t, 30*time.Second, func() error {
			if now := answered.Load(); now < from+n {
				return fmt.Errorf("%d answers, want %d", now-from, n)
			}
			return nil
		})
		return failed.Load() - before
	}
	if n := count(50); n > 0 {
		t.Errorf("%d requests failed before anything was killed", n)
	}
	if err := c.Nodes[1].Cachemgr.Kill(); err != nil {
		t.Fatal(err)
	}
	ready(t, c, "f0", 1)
	ready(t, c, "f1", 1)
	count(20) // those that were on their way to it
	if n := count(50); n > 0 {
		t.Errorf("%d requests failed although the provider knew that the node was gone", n)
	}
	if err := c.Nodes[1].Cachemgr.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready(t, c, "f0", 2)
	ready(t, c, "f1", 2)
	if n := count(50); n > 0 {
		t.Errorf("%d requests failed after the node was back", n)
	}
	stop()
	clients.Wait()
}
