package cachemgr

import (
	"errors"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func from(function string) func(*Request) { return func(q *Request) { q.Function = function } }

// together asks three times while the first run goes on, for each of some functions,
// and returns how many ran with each.
func (r *batchRig) together(functions ...string) (ran []int) {
	r.run = r.hold(testengine.Run, "a")
	first := r.ask(1, 8, true, from("first"))
	var all []*pending
	for _, f := range functions {
		all = append(all, r.ask(1, 8, true, from(f)))
	}
	close(r.run)
	for _, p := range append(all, first) {
		res, err := p.wait()
		if err != nil {
			r.Error(err)
		}
		ran = append(ran, res.Batch)
	}
	r.run = make(chan error)
	return ran[:len(all)]
}

func (r *batchRig) wantTogether(want []int, functions ...string) {
	r.Helper()
	got := r.together(functions...)
	for i := range want {
		if got[i] != want[i] {
			r.Errorf("of %v ran together %v, want %v", functions, got, want)
			return
		}
	}
}

// TestWhoSpoilsABatchRunsAlone: for a while, and the others do not.
func TestWhoSpoilsABatchRunsAlone(t *testing.T) {
	inBatchBubble(t, func(r *batchRig) {
		all := []*pending{r.ask(1, 8, true, from("f")), r.ask(1, 8, true, from("g"), withInput(bad))}
		close(r.run)
		if _, err := all[0].wait(); err != nil {
			r.Error(err)
		}
		if _, err := all[1].wait(); !errors.Is(err, engine.ErrBadInput) {
			r.Error(err)
		}
		r.wantTogether([]int{2, 2, 1}, "f", "f", "g")
		time.Sleep(apartFor)
		r.wantTogether([]int{3, 3, 3}, "f", "f", "g")
	})
}

// TestModelsThatCannotBatch: after batches that failed with nobody to blame, the
// requests for the model run alone, longer and longer.
func TestModelsThatCannotBatch(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{
			Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, MaxBatch: 8,
			Refuses: func(in []byte) bool { return len(in) > testengine.Row },
		})
		b := &batchRig{rig: r}
		before := 0
		for _, c := range []struct {
			after time.Duration
			runs  int
		}{
			{0, 1 + 1 + 2}, // the first, both together, each alone
			{0, 3},
			{time.Second, 4}, // tried again
			{time.Second, 3},
			{time.Second, 4},
		} {
			time.Sleep(c.after)
			b.wantTogether([]int{1, 1}, "f", "g")
			if n := b.runs(); n-before != c.runs {
				r.Errorf("after %v: %d runs, want %d", c.after, n-before, c.runs)
			}
			before = b.runs()
		}
	})
}

// TestFixedRowsAreNotPutTogether: what can be known before is not tried.
func TestFixedRowsAreNotPutTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, MaxBatch: 8, Fixed: true})
		(&batchRig{rig: r}).wantTogether([]int{1, 1}, "f", "g")
	})
	for _, c := range []struct {
		name string
		spec tensor.Spec
		want bool
	}{
		{"rows", tensor.Spec{Datatype: tensor.FP32, Shape: []int64{-1, 4}}, true},
		{"fixed", tensor.Spec{Datatype: tensor.FP32, Shape: []int64{8, 4}}, false},
		{"a number", tensor.Spec{Datatype: tensor.FP32}, false},
		{"strings, which have no size of their own", tensor.Spec{Datatype: tensor.Bytes, Shape: []int64{-1}}, false},
	} {
		good := tensor.Spec{Datatype: tensor.FP32, Shape: []int64{-1, 4}}
		for _, spec := range []engine.Spec{
			{Inputs: []tensor.Spec{good, c.spec}, Outputs: []tensor.Spec{good}},
			{Inputs: []tensor.Spec{good}, Outputs: []tensor.Spec{good, c.spec}},
		} {
			if rowsApart(spec) != c.want {
				t.Errorf("%s: %v", c.name, !c.want)
			}
		}
	}
}
