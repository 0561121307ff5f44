package shm

import (
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func TestSmallRequestsNeedNoPlan(t *testing.T) {
	r := &oip.Request{
		Inputs:  []tensor.Tensor{{Name: "x", Data: make([]byte, large-1)}},
		Outputs: []oip.Output{{Name: "y"}},
	}
	known := []output{{"y", large - 1}, {"z", -1}}
	var p *plan
	if n := testing.AllocsPerRun(100, func() { p = newPlan(r, known) }); n != 0 || p != nil {
		t.Errorf("%v allocations for the plan %+v", n, p)
	}
	known[1].size = large // but not wanted
	if p := newPlan(r, known); p != nil {
		t.Errorf("a plan for an output that nobody wants: %+v", p)
	}
	known[0].size = large
	if p := newPlan(r, known); p == nil || p.outputs[0].Place.Size != large || p.inputs[0] != -1 {
		t.Errorf("the plan for a large output is %+v", p)
	}
}
