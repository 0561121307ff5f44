package native

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Without a budget of its own the engine takes no more than the manager's default,
// also not to keep what models of other sizes left.
func TestBudgetThatIsNotSet(t *testing.T) {
	e := newEngine(t, Options{Settings: "memory=8388608"})
	m, err := cachemgr.New(cachemgr.Config{Engine: e, HostBudget: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	budget := m.Status().Devices[0].Budget
	if want := int64(8<<20) / 10 * 9; budget != want {
		t.Errorf("budget %d, want %d", budget, want)
	}
	// First small ones, whose pieces the large ones cannot use.
	most := int64(0)
	for n := range 56 {
		spec := planSpec{seed: uint64(n), weights: 30_000, inputs: 4, outputs: 4}
		if n >= 48 {
			spec.weights *= 20
		}
		plan := writePlan(t, spec)
		if err := m.Add(cachemgr.Model{Digest: plan.Name, Name: plan.Name, Path: plan.Path, Format: plan.Format, Size: 1}); err != nil {
			t.Fatal(err)
		}
		out := []tensor.Tensor{{Name: "y"}}
		if _, err := m.Infer(t.Context(), cachemgr.Request{Digest: plan.Name, In: input(4), Out: out}); err != nil {
			t.Fatalf("model %d: %v", n, err)
		}
		most = max(most, held(t, e)+kept(t, e))
	}
	if most > budget || most < budget/2 {
		t.Errorf("the engine holds up to %d bytes, the budget is %d", most, budget)
	}
	if err := errors.Join(m.Close(t.Context()), e.Close()); err != nil {
		t.Error(err)
	}
}

func TestLimitIsRefused(t *testing.T) {
	e := newEngine(t, Options{})
	if err := e.Limit(double, 0); err == nil {
		t.Error("a limit of nothing")
	}
	if err := e.Limit("no device", 1); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("an unknown device: got %v, want %v", err, engine.ErrUnavailable)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
