package enginetest

import (
	"fmt"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func testDevices(s *suite) {
	if s.engine.Name() == "" {
		s.Error("the engine has no name")
	}
	devices, err := s.engine.Devices(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	i := slices.IndexFunc(devices, func(d engine.Device) bool { return d.ID == s.Device })
	if i < 0 {
		s.Fatalf("%q is not among %+v", s.Device, devices)
	}
	if d := devices[i]; d.Name == "" || d.Kind == "" || d.TotalBytes <= 0 || d.FreeBytes <= 0 || d.FreeBytes > d.TotalBytes || d.Overhead < 0 {
		s.Errorf("%+v", d)
	}
	st := s.open(s.Models[0])
	defer s.close(st)
	if i, err := st.Load(s.Context(), s.Device+"-no"); err == nil {
		s.Errorf("loaded onto a device that does not exist: %v", i)
	}
}

func testSpecAndCost(s *suite) {
	for _, m := range s.Models {
		st := s.open(m)
		before := st.Cost(s.Device)
		i := s.load(st)
		spec, after := st.Spec(), st.Cost(s.Device)
		if !spec.Known || len(spec.Inputs) == 0 || len(spec.Outputs) == 0 || spec.Concurrency < 1 {
			s.Errorf("%s: spec %+v", m.Name, spec)
		}
		for _, v := range append(slices.Clone(spec.Inputs), spec.Outputs...) {
			if _, err := tensor.ByteSize(v.Datatype, v.Shape); v.Name == "" || err != nil {
				s.Errorf("%s: %+v: %v; its shapes must be fixed", m.Name, v, err)
			}
		}
		for _, c := range []engine.Cost{before, after} {
			if c.Peak < c.Resident || c.Resident <= c.Residual || c.Residual < 0 || c.Host <= 0 {
				s.Errorf("%s: cost %+v", m.Name, c)
			}
		}
		s.close(i, st)
	}
}

func testReload(s *suite) {
	for n, m := range s.Models {
		st := s.open(m)
		var want []tensor.Tensor
		for round := range 5 {
			i := s.load(st)
			in := inputs(st.Spec(), 1, uint64(n))
			out := s.run(i, st.Spec(), in)
			if round == 0 {
				want = out
			}
			if err := same(out, want); err != nil {
				s.Errorf("%s, load %d: %v", m.Name, round+1, err)
			}
			if other := s.run(i, st.Spec(), inputs(st.Spec(), 1, uint64(n)+100)); same(other, want) == nil {
				s.Errorf("%s answers another input with the same bits", m.Name)
			}
			s.close(i)
		}
		s.close(st)
	}
}

func testCallersBuffers(s *suite) {
	st, i := s.resident(s.Models[0])
	spec := st.Spec()
	in := inputs(spec, 1, 1)
	kept := clone(in)
	want := s.run(i, spec, in)

	out := buffers(spec.Outputs, 1)
	var addresses []*byte
	for n := range out {
		addresses = append(addresses, &out[n].Data[0])
	}
	if err := i.Run(s.Context(), in, out); err != nil {
		s.Fatal(err)
	}
	if err := same(out, want); err != nil {
		s.Errorf("outputs in the caller's buffers: %v", err)
	}
	for n := range out {
		if &out[n].Data[0] != addresses[n] {
			s.Errorf("%s was moved to another buffer", out[n].Name)
		}
	}
	if err := same(in, kept); err != nil {
		s.Errorf("the inputs were changed: %v", err)
	}
}

func clone(ts []tensor.Tensor) []tensor.Tensor {
	c := slices.Clone(ts)
	for i := range c {
		c[i].Data = slices.Clone(c[i].Data)
	}
	return c
}

// Tensors of a request lie wherever its body has them.
func testOddAddresses(s *suite) {
	st, i := s.resident(s.Models[0])
	spec := st.Spec()
	in := inputs(spec, 1, 1)
	want := s.run(i, spec, in)
	for skip := range 9 {
		odd, out := clone(in), buffers(spec.Outputs, 1)
		for _, ts := range [][]tensor.Tensor{odd, out} {
			for n := range ts {
				data := append(make([]byte, skip), ts[n].Data...)
				ts[n].Data = data[skip:]
			}
		}
		if err := i.Run(s.Context(), odd, out); err != nil {
			s.Fatalf("%d bytes after the begin of a buffer: %v", skip, err)
		}
		if err := same(out, want); err != nil {
			s.Errorf("%d bytes after the begin of a buffer: %v", skip, err)
		}
	}
}

func testOutputSubset(s *suite) {
	for _, m := range s.Models {
		st, i := s.resident(m)
		spec := st.Spec()
		in := inputs(spec, 1, 1)
		want := s.run(i, spec, in)
		for n := range want {
			out := []tensor.Tensor{{Name: want[n].Name}}
			if err := i.Run(s.Context(), in, out); err != nil {
				s.Fatalf("%s: %s alone: %v", m.Name, want[n].Name, err)
			}
			if err := same(out, want[n:n+1]); err != nil {
				s.Errorf("%s alone: %v", m.Name, err)
			}
		}
		reversed := unallocated(spec)
		slices.Reverse(reversed)
		if err := i.Run(s.Context(), in, reversed); err != nil {
			s.Fatalf("%s: outputs in another order: %v", m.Name, err)
		}
		slices.Reverse(reversed)
		if err := same(reversed, want); err != nil {
			s.Errorf("%s: outputs in another order: %v", m.Name, err)
		}
	}
}

func testDynamic(s *suite) {
	st, i := s.resident(s.Dynamic)
	spec := st.Spec()
	if spec.MaxBatch == 0 {
		s.Errorf("MaxBatch is 0, and the first dimension is dynamic")
	}
	whole := s.run(i, spec, inputs(spec, 4, 1))
	for _, batch := range []int64{1, 3, 4} {
		in := inputs(spec, batch, 1)
		allocated := s.run(i, spec, in)
		out := buffers(spec.Outputs, batch)
		if err := i.Run(s.Context(), in, out); err != nil {
			s.Fatalf("batch %d: %v", batch, err)
		}
		if err := same(out, allocated); err != nil {
			s.Errorf("batch %d: %v", batch, err)
		}
		// The first input of the batch is the same in all batches.
		row := len(out[0].Data) / int(batch)
		if fmt.Sprint(out[0].Data[:row]) != fmt.Sprint(whole[0].Data[:row]) {
			s.Errorf("batch %d: the first answer differs from that in a batch of 4", batch)
		}
	}
}
