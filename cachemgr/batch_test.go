package cachemgr

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// bad is the first byte of a row that the models here refuse.
const bad = 0xff

// batchRig has a model "a" that takes batches of up to 8, and is running.
type batchRig struct {
	*rig
	run   chan error
	first *pending
}

func inBatchBubble(t *testing.T, test func(r *batchRig)) {
	t.Helper()
	inBubble(t, func(r *rig) {
		r.addAs("a", testengine.Model{
			Cost: engine.Cost{Peak: 10, Resident: 10, Host: 10}, MaxBatch: 8,
			Refuses: func(in []byte) bool {
				for row := range len(in) / testengine.Row {
					if in[row*testengine.Row] == bad {
						return true
					}
				}
				return false
			},
		})
		b := &batchRig{rig: r, run: r.hold(testengine.Run, "a")}
		b.first = b.ask(1, 8, false)
		test(b)
		close(b.run)
		if _, err := b.first.wait(); err != nil {
			r.Error(err)
		}
	})
}

// ask sends a request of some rows, and compares its output.
func (r *batchRig) ask(rows int64, most int, allocated bool, change ...func(*Request)) *pending {
	data := make([]byte, rows*testengine.Row)
	for i := range data {
		data[i] = byte(int64(r.m.tickets)*7+int64(i)) & 0x7f
	}
	in := []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{rows, testengine.Row}, Data: data}}
	out := []tensor.Tensor{{Name: "y"}}
	if allocated {
		out[0] = tensor.Tensor{Name: "y", Datatype: tensor.Uint8, Shape: []int64{rows, testengine.Row}, Data: make([]byte, len(data))}
	}
	q := Request{Digest: "a", Function: "f", MaxBatch: most, In: in, Out: out}
	for _, c := range change {
		c(&q)
	}
	ctx, cancel := context.WithCancel(r.Context())
	p := &pending{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(p.done)
		defer cancel()
		p.res, p.err = r.m.Infer(ctx, q)
		if p.err == nil {
			if out := q.Out[0]; !bytes.Equal(out.Data, testengine.Expect("a", data)) || len(out.Shape) > 0 && out.Shape[0] != rows {
				r.Errorf("wrong output of shape %v", out.Shape)
			}
		} else {
			clear(in[0].Data) // they are the caller's again
			clear(out[0].Data)
		}
	}()
	synctest.Wait()
	return p
}

func (r *batchRig) runs() int {
	return r.engine.Calls(testengine.Call{Op: testengine.Run, Model: "a", Device: "cpu"})
}

func withInput(in ...byte) func(*Request) {
	return func(q *Request) { copy(q.In[0].Data, in) }
}

// TestBatches asks while another run goes on, and says which of the requests
// then ran together.
func TestBatches(t *testing.T) {
	type ask struct {
		rows      int64
		most      int
		allocated bool
		change    func(*Request)
	}
	none := func(*Request) {}
	for _, c := range []struct {
		name string
		asks []ask
		want []int // of each request, how many ran together
	}{
		{"one", []ask{{1, 8, false, none}}, []int{1}},
		{"all", []ask{{1, 8, false, none}, {2, 8, false, none}, {3, 8, false, none}}, []int{3, 3, 3}},
		{"with memory for outputs", []ask{{1, 8, true, none}, {2, 8, true, none}}, []int{2, 2}},
		{"with memory and without", []ask{{1, 8, true, none}, {2, 8, false, none}}, []int{1, 1}},
		{"as many as the model takes", []ask{{5, 16, false, none}, {3, 16, false, none}, {1, 16, false, none}}, []int{2, 2, 1}},
		{"as many as one of them allows", []ask{{1, 8, false, none}, {1, 3, false, none}, {1, 8, false, none}, {1, 8, false, none}}, []int{3, 3, 3, 1}},
		{"one that allows none", []ask{{1, 0, false, none}, {1, 8, false, none}, {1, 1, false, none}}, []int{1, 1, 1}},
		{"another datatype", []ask{{1, 8, false, none}, {1, 8, false, func(q *Request) { q.In[0].Datatype = tensor.Int8 }}}, []int{1, 1}},
		{"another name", []ask{{1, 8, false, none}, {1, 8, false, func(q *Request) { q.In[0].Name = "z" }}}, []int{1, 1}},
		{"another shape", []ask{{2, 8, false, none}, {1, 8, false, func(q *Request) { q.In[0].Shape = []int64{1, 2, testengine.Row / 2} }}}, []int{1, 1}},
		{"no dimension", []ask{{1, 8, false, none}, {1, 8, false, func(q *Request) { q.In[0].Shape = nil }}}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBatchBubble(t, func(r *batchRig) {
				var all []*pending
				for _, a := range c.asks {
					all = append(all, r.ask(a.rows, a.most, a.allocated, a.change))
				}
				time.Sleep(time.Second)
				r.run <- nil
				time.Sleep(time.Second)
				close(r.run)
				leads, runs := 0, 0.0
				for i, p := range all {
					res, err := p.wait()
					if err != nil || res.Batch != c.want[i] {
						r.Errorf("request %d ran with %d, error %v; want %d", i, res.Batch, err, c.want[i])
					}
					if res.Lead {
						leads++
					}
					runs += 1 / float64(c.want[i])
				}
				if n := r.runs() - 1; n != leads || float64(n) < runs-0.1 || float64(n) > runs+0.1 {
					r.Errorf("%d runs, %d leaders, want %.0f", n, leads, runs)
				}
				r.run = make(chan error)
			})
		})
	}
}

// TestBadInputDoesNotFailTheOthers: nor do panics.
func TestBadInputDoesNotFailTheOthers(t *testing.T) {
	inBatchBubble(t, func(r *batchRig) {
		all := []*pending{r.ask(1, 8, true), r.ask(2, 8, true, withInput(bad)), r.ask(1, 8, true)}
		close(r.run)
		for i, p := range all {
			res, err := p.wait()
			if i == 1 && !errors.Is(err, engine.ErrBadInput) || i != 1 && (err != nil || res.Batch != 1) {
				r.Errorf("request %d: %+v, %v", i, res, err)
			}
		}
		if n := r.runs(); n != 1+1+3 {
			r.Errorf("%d runs, want one before, one together and one for each", n)
		}
		r.run = make(chan error)
	})
}

func TestPanicInABatch(t *testing.T) {
	inBatchBubble(t, func(r *batchRig) {
		all := []*pending{r.ask(1, 8, true), r.ask(1, 8, true)}
		runs := 0
		r.engine.Before = func(_ context.Context, c testengine.Call) error {
			if runs++; runs == 1 {
				panic("in a batch")
			}
			return nil
		}
		close(r.run)
		for _, p := range all {
			if _, err := p.wait(); err != nil {
				r.Error(err)
			}
		}
		r.run = make(chan error)
	})
}

func TestDeviceLostInABatch(t *testing.T) {
	inBatchBubble(t, func(r *batchRig) {
		all := []*pending{r.ask(1, 8, true), r.ask(1, 8, true)}
		r.run <- nil
		synctest.Wait()
		r.run <- engine.ErrDeviceLost
		for _, p := range all {
			if _, err := p.wait(); !errors.Is(err, engine.ErrDeviceLost) {
				r.Errorf("error %v, want ErrDeviceLost", err)
			}
		}
		if st := r.m.Status(); st.Devices[0].Running != 0 || st.Models["a"].Stats.Failures != 2 {
			r.Errorf("%+v", st.Models["a"])
		}
	})
}

// TestLeavingABatch: the others get their answers, and when all have left the run
// ends.
func TestLeavingABatch(t *testing.T) {
	for _, leave := range [][]int{{0}, {1}, {0, 2}, {0, 1, 2}} {
		inBatchBubble(t, func(r *batchRig) {
			all := []*pending{r.ask(1, 8, true), r.ask(2, 8, true), r.ask(1, 8, true)}
			r.run <- nil
			synctest.Wait()
			for _, i := range leave {
				all[i].cancel()
				if _, err := all[i].wait(); !errors.Is(err, context.Canceled) {
					r.Errorf("error %v, want Canceled", err)
				}
			}
			synctest.Wait()
			if running := r.m.Status().Devices[0].Running; (running == 0) != (len(leave) == len(all)) {
				r.Errorf("%d of %d have left, %d run", len(leave), len(all), running)
			}
			close(r.run)
			leads := 0
			for _, p := range all {
				res, err := p.wait()
				if err != nil && !errors.Is(err, context.Canceled) {
					r.Error(err)
				}
				if res.Lead {
					leads++
				}
			}
			if want := min(1, len(all)-len(leave)); leads != want {
				r.Errorf("%d leaders, want %d", leads, want)
			}
			r.run = make(chan error)
		})
	}
}
