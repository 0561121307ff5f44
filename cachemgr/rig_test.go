package cachemgr

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a manager over a test engine whose calls a test can hold.
type rig struct {
	*testing.T
	engine *testengine.Engine
	m      *Manager
	slo    time.Duration // of requests
	batch  int           // rows that requests allow in a batch
	growth bool          // models may turn out larger than they said: budgets can be passed for a moment

	mu    sync.Mutex
	gates map[testengine.Call]chan error
}

// newRig makes a manager with a device "cpu" of 100 bytes and a host pool of 1000
// bytes, which serves and evicts by arrival, unless change says otherwise.
func newRig(t *testing.T, change ...func(*Config, *testengine.Engine)) *rig {
	t.Helper()
	r := &rig{T: t, engine: testengine.New(t.Errorf), gates: map[testengine.Call]chan error{}}
	cfg := Config{
		Engine: r.engine, HostBudget: 1000,
		DeviceBudget: func(engine.Device) int64 { return 100 },
		Policy:       func() policy.Order { return policy.NewLRU() },
		Queue:        func(*queue.Book) queue.Policy { return queue.FIFO{} },
	}
	r.engine.Before = r.pass
	for _, c := range change {
		c(&cfg, r.engine)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.m = m
	r.engine.After = func(testengine.Call) { r.check() }
	return r
}

// inBubble runs a test in which time passes only when all wait.
func inBubble(t *testing.T, test func(r *rig), change ...func(*Config, *testengine.Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change...)
		test(r)
		r.closeEmpty()
	})
}

// pass waits at a call's gate, if it has one.
func (r *rig) pass(ctx context.Context, c testengine.Call) error {
	r.mu.Lock()
	gate := r.gates[c]
	r.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case err := <-gate:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hold stops the calls of a kind until a result is sent to the channel, or it is
// closed for good.
func (r *rig) hold(op testengine.Op, model string) chan error {
	gate := make(chan error)
	c := testengine.Call{Op: op, Model: model}
	if op == testengine.Load || op == testengine.Run || op == testengine.Evict {
		c.Device = "cpu"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gates[c] = gate
	return gate
}

// add makes a model of a size known; it takes as much host memory.
func (r *rig) add(name string, size int64) {
	r.Helper()
	r.addAs(name, testengine.Model{Cost: engine.Cost{Peak: size, Resident: size, Host: size}})
}

func (r *rig) addAs(name string, model testengine.Model) {
	r.Helper()
	r.engine.Define(name, model)
	err := r.m.Add(Model{Digest: name, Name: name, Path: name, Format: engine.FormatONNX, Size: model.Cost.Host})
	if err != nil {
		r.Fatal(err)
	}
}

// infer runs one request of a function that has the model's name, and compares its
// output.
func (r *rig) infer(ctx context.Context, name string) (Result, error) {
	in, out := testTensors()
	res, err := r.m.Infer(ctx, Request{Digest: name, Function: name, SLO: r.slo, MaxBatch: r.batch, In: in, Out: out})
	if err == nil && !bytes.Equal(out[0].Data, testengine.Expect(name, in[0].Data)) {
		r.Errorf("wrong output of %s", name)
	}
	return res, err
}

func testTensors() (in, out []tensor.Tensor) {
	data := make([]byte, 3*testengine.Row)
	for i := range data {
		data[i] = byte(i)
	}
	return []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{3, testengine.Row}, Data: data}}, []tensor.Tensor{{Name: "y"}}
}

// want runs one request that must end with an outcome.
func (r *rig) want(name, outcome string) Result {
	r.Helper()
	res, err := r.infer(r.Context(), name)
	if err != nil || res.Outcome != outcome {
		r.Fatalf("infer %s: outcome %q and error %v, want %q", name, res.Outcome, err, outcome)
	}
	return res
}

// pending is a request in the background.
type pending struct {
	res    Result
	err    error
	done   chan struct{}
	cancel context.CancelFunc
}

// start begins a request and returns when it waits or is done.
func (r *rig) start(name string) *pending {
	ctx, cancel := context.WithCancel(r.Context())
	p := &pending{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(p.done)
		defer cancel()
		p.res, p.err = r.infer(ctx, name)
	}()
	synctest.Wait()
	return p
}

func (p *pending) wait() (Result, error) {
	<-p.done
	return p.res, p.err
}

func (p *pending) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// state of a model on the device "cpu", as a status shows it.
func (r *rig) state(name string) api.State {
	st, ok := r.m.Status().Models[name]
	switch {
	case !ok:
		return "unknown"
	case len(st.Instances) > 0:
		return st.Instances[0].State
	case st.Staged:
		return api.StateStaged
	}
	return api.StateAbsent
}

func (r *rig) wantState(name string, want api.State) {
	r.Helper()
	synctest.Wait()
	if got := r.state(name); got != want {
		r.Errorf("%s is %s, want %s", name, got, want)
	}
}

// closeEmpty closes the manager, which must give everything back.
func (r *rig) closeEmpty() {
	r.Helper()
	if err := r.m.Close(r.Context()); err != nil {
		r.Errorf("close: %v", err)
	}
	st := r.m.Status()
	for _, d := range st.Devices {
		held, host := r.engine.Bytes(engine.DeviceID(d.ID))
		if n := d.Resident + d.Loading + d.Draining + d.Residual; n != 0 || held != 0 || host != 0 || st.Host.Used != 0 {
			r.Errorf("after close: ledger %d, device %d, host pool %d, host %d bytes", n, held, st.Host.Used, host)
		}
	}
	if err := r.engine.Close(); err != nil {
		r.Error(err)
	}
}
