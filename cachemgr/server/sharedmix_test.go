package server

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// repeating is a model that gives each input as the output of the same place. Those
// outputs that have a dynamic dimension are allocated by the engine.
func repeating(datatypes []tensor.Datatype) *fakeManager {
	m := newFakeManager()
	m.spec = engine.Spec{Known: true, Concurrency: 1}
	for i, d := range datatypes {
		shape := []int64{8}
		if i%2 == 1 {
			shape = []int64{-1}
		}
		m.spec.Inputs = append(m.spec.Inputs, tensor.Spec{Name: "x" + string(d), Datatype: d, Shape: shape})
		m.spec.Outputs = append(m.spec.Outputs, tensor.Spec{Name: "y" + string(d), Datatype: d, Shape: shape})
	}
	m.infer = func(_ context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		for i := range r.Out {
			from := r.In[indexOf(m.spec.Outputs, r.Out[i].Name)]
			if r.Out[i].Data == nil {
				r.Out[i].Data, r.Out[i].Shape = make([]byte, len(from.Data)), from.Shape
			}
			copy(r.Out[i].Data, from.Data)
		}
		return cachemgr.Result{Outcome: api.CacheHit, Device: "cpu", Engine: "fake"}, nil
	}
	return m
}

// Wherever each of the tensors is, the outputs are the same.
func TestTensorsHereAndThere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	datatypes := []tensor.Datatype{tensor.FP32, tensor.Uint8, tensor.FP16, tensor.Int64, tensor.Bool, tensor.FP64}
	m := repeating(datatypes)
	s, h := newServer(t, m, Limits{})
	region, memory := share(t, s, api.FunctionRef{}, 64<<10)
	c, err := api.NewClient(api.ClientConfig{Address: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 200 {
		next := int64(0) // free in the region, at odd addresses too
		place := func(n int64) oip.Place {
			p := oip.Place{Region: region, Offset: next + random.Int64N(5), Size: n}
			next = p.Offset + n
			return p
		}
		r := &oip.Request{Places: make([]oip.Place, len(datatypes))}
		want := make([][]byte, len(datatypes))
		for i, d := range datatypes {
			data := make([]byte, 8*d.Size())
			for j := range data {
				data[j] = byte(random.IntN(2)) // a BOOL allows no more
			}
			want[i] = data
			r.Inputs = append(r.Inputs, tensor.Tensor{Name: m.spec.Inputs[i].Name, Datatype: d, Shape: []int64{8}, Data: data})
			if random.IntN(2) == 0 {
				r.Places[i] = place(int64(len(data)))
				copy(memory[r.Places[i].Offset:], data)
				r.Inputs[i].Data = nil
			}
			o := oip.Output{Name: m.spec.Outputs[i].Name}
			if random.IntN(2) == 0 {
				o.Place = place(int64(len(data)) + random.Int64N(9))
			}
			r.Outputs = append(r.Outputs, o)
		}
		resp, _, err := c.Infer(t.Context(), api.Call{Model: "twice"}, r)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range resp.Outputs {
			got := o.Data
			if p := r.Outputs[i].Place; p.Shared() {
				got = memory[p.Offset:][:len(want[i])]
			}
			if !bytes.Equal(got, want[i]) {
				t.Errorf("output %s at %+v is %v, want %v", o.Name, r.Outputs[i].Place, got, want[i])
			}
		}
		resp.Release()
	}
	waitFor(t, func() bool { return s.memory.taken() == 0 })
}
