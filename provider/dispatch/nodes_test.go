package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

// onNode is a node with one device, where the model "m" of digits is in a state. It
// computes for 10 ms and takes 100 ms to be brought there.
func onNode(name string, state api.State) api.NodeStatus {
	return api.NodeStatus{
		Node: name, Full: true, Devices: []api.DeviceStatus{{ID: "cpu", Name: "c", Budget: 1000, Slots: 1}},
		Models: []api.ModelStatus{{
			Digest: "sha", Size: 10, Bytes: 10, Staged: true, StageNs: 1e6,
			Names:     []api.ModelName{{Function: api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "r1"}, Name: "m", Version: "1", SLO: "300ms"}},
			Instances: []api.InstanceStatus{{Device: "cpu", State: state, SwapNs: 100e6, SwapBytes: 10, Runs: 4, ComputeNs: 40e6}},
		}},
	}
}

// nodes is what a test of a dispatcher with nodes has.
type nodes struct {
	*Dispatcher
	rt *fake

	mu         sync.Mutex
	prefetched []string // ADDRESS DIGEST DEVICE
}

func playNodes(t *testing.T, test func(t *testing.T, n *nodes)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := locality.New(locality.Config{Policy: locality.Swap})
		if err != nil {
			t.Fatal(err)
		}
		n := &nodes{rt: newFake()}
		n.Dispatcher = New(Config{
			Runtime: n.rt, Scheduler: s, Wait: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
			Prefetch: func(address string, p api.PrefetchRequest) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.prefetched = append(n.prefetched, address+" "+p.Digest+" "+p.Device)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { n.Run(ctx) })
		n.rt.set(digits, func(f *runtime.Function) {
			f.Desired = 2
			f.Replicas = []runtime.Replica{
				{ID: "r-a", Node: "a", URL: "http://ra:80", Ready: true}, {ID: "r-b", Node: "b", URL: "http://rb:80", Ready: true},
			}
		})
		test(t, n)
		cancel()
		running.Wait()
		n.Close()
	})
}

// annotate gives digits annotations.
func (n *nodes) annotate(annotations ...string) {
	n.rt.set(digits, func(f *runtime.Function) {
		all := map[string]string{}
		for i := 0; i < len(annotations); i += 2 {
			all[annotations[i]] = annotations[i+1]
		}
		f.Deployment.Request.Annotations = &all
	})
	synctest.Wait()
}

func (n *nodes) ask(t *testing.T, w Want) (Lease, error) {
	t.Helper()
	f, ok := n.Lookup(digits)
	if !ok {
		t.Fatal("digits is unknown")
	}
	w.Began = time.Now()
	return n.Acquire(t.Context(), f, w)
}

func (n *nodes) want(t *testing.T, w Want, replica, device string) Lease {
	t.Helper()
	l, err := n.ask(t, w)
	if err != nil || l.Replica != replica || l.Device != device {
		t.Fatalf("got replica %q and device %q, %v; want %q and %q", l.Replica, l.Device, err, replica, device)
	}
	return l
}

func TestRequestsGoToTheirModel(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateLoading))
		n.Heard("/b", onNode("b", api.StateResident))
		for range 3 {
			for _, w := range []Want{{}, {Model: "m"}, {Model: "m", Version: "1"}} {
				l := n.want(t, w, "r-b", "cpu")
				l.Answered(api.CacheHit, "cpu", "queue;dur=0, swap;dur=0, compute;dur=10")
				l.Done()
			}
		}
		if len(n.prefetched) > 0 {
			t.Errorf("what is there was sent for: %v", n.prefetched)
		}
		l := n.want(t, Want{Model: "unknown"}, "r-a", "") // as if it had none
		l.Done()
	})
}

func TestMissesAreSentFor(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateFailed))
		l := n.want(t, Want{}, "r-a", "cpu")
		l.Done()
		if len(n.prefetched) != 1 || n.prefetched[0] != "/a sha cpu" {
			t.Errorf("sent for %v", n.prefetched)
		}
		f, _ := n.Lookup(digits)
		if e := n.Explain(f, Want{}); e.Device != "a/cpu" || e.Devices[0].Place != "staged" {
			t.Errorf("nothing came of it, but it is explained as %+v", e)
		}
	})
}

// TestLostNode: requests go on without a device where no node is left that could
// have one, those that wait for one as well.
func TestLostNode(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateResident))
		n.Heard("/b", onNode("b", api.StateResident))
		n.Lost("/a")
		for range 2 {
			l := n.want(t, Want{}, "r-b", "cpu")
			l.Done()
		}
		first, second := n.want(t, Want{}, "r-b", "cpu"), Lease{}
		waits := make(chan error, 1)
		go func() {
			var err error
			second, err = n.ask(t, Want{})
			waits <- err
		}()
		synctest.Wait()
		n.Lost("/b")
		if err := <-waits; err != nil || second.Device != "" {
			t.Errorf("one that waited got %+v, %v", second, err)
		}
		first.Done()
		second.Done()
		n.Heard("/a", onNode("a", api.StateResident))
		l := n.want(t, Want{}, "r-a", "cpu")
		l.Done()
	})
}

// TestSlowClientsKeepNoDevice: a device takes the next request when it has computed,
// however long the answer takes to its client; and that is how long it is believed
// to take.
func TestSlowClientsKeepNoDevice(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateResident))
		for range 8 {
			l := n.want(t, Want{}, "r-a", "cpu")
			time.Sleep(10 * time.Millisecond)
			l.Answered(api.CacheHit, "cpu", "queue;dur=0, swap;dur=0, compute;dur=10")
			l.Computed()
			l.Computed() // again changes nothing
			defer l.Done()
			time.Sleep(time.Minute)
		}
		f, _ := n.Lookup(digits)
		if e := n.Explain(f, Want{}); e.Devices[0].Wait != 0 || e.Replicas[0].InFlight != 8 {
			t.Errorf("eight answers are on their way, and it is explained as %+v", e)
		}
		l := n.want(t, Want{}, "r-a", "cpu")
		next := make(chan error, 1)
		go func() {
			l, err := n.ask(t, Want{})
			l.Done()
			next <- err
		}()
		synctest.Wait()
		if waiting := n.Stats().Waiting; waiting != 1 {
			t.Errorf("%d requests wait for a device that computes: it gets more at a time, as if eight had been on their way to it", waiting)
		}
		l.Done()
		if err := <-next; err != nil {
			t.Error(err)
		}
	})
}

func TestObjectives(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateResident))
		n.annotate("com.openfaas.gpu.slo.refuse", "true")
		for _, c := range []struct{ asked, want time.Duration }{
			{-1, 300 * time.Millisecond}, {0, 0}, {time.Second, time.Second},
		} {
			l := n.want(t, Want{SLO: c.asked}, "r-a", "cpu")
			if l.SLO() != c.want || l.Left() != c.want {
				t.Errorf("asked for %v: has %v, %v left", c.asked, l.SLO(), l.Left())
			}
			time.Sleep(time.Millisecond)
			if left := l.Left(); c.want > 0 && left != c.want-time.Millisecond {
				t.Errorf("asked for %v: after 1 ms %v are left", c.asked, left)
			}
			l.Done()
		}
		late := new(TooLateError)
		l, err := n.ask(t, Want{SLO: 4 * time.Millisecond})
		if !errors.As(err, &late) || late.SLO != 4*time.Millisecond || late.After != 6*time.Millisecond || l.SLO() != late.SLO {
			t.Errorf("10 ms of computing in 4: %v, %+v", err, l)
		}
		// It could be met, but then the device is busy for longer than expected.
		first := n.want(t, Want{}, "r-a", "cpu")
		began := time.Now()
		if _, err := n.ask(t, Want{SLO: 25 * time.Millisecond}); !errors.As(err, &late) || time.Since(began) != 25*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		first.Done()
		n.annotate()
		l = n.want(t, Want{SLO: 4 * time.Millisecond}, "r-a", "cpu") // nobody asked to be refused
		l.Done()
		if s := n.Stats(); s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPolicyOfAFunction(t *testing.T) {
	playNodes(t, func(t *testing.T, n *nodes) {
		n.Heard("/a", onNode("a", api.StateResident))
		n.annotate("com.openfaas.gpu.policy", "least-in-flight")
		for _, replica := range []string{"r-a", "r-b", "r-a"} {
			l := n.want(t, Want{}, replica, "")
			l.Done()
		}
		n.annotate("com.openfaas.gpu.policy", "lb")
		f, _ := n.Lookup(digits)
		if e := n.Explain(f, Want{}); e.Policy != "lb" || e.Device != "a/cpu" || e.Model != "sha" {
			t.Errorf("explained as %+v", e)
		}
	})
}
