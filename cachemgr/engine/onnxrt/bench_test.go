package onnxrt

import (
	"context"
	"sync"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// BenchmarkRunOverhead is a model that computes next to nothing: what is left is
// the way into the runtime and back.
func BenchmarkRunOverhead(b *testing.B) {
	e := ownEngine(b, Options{Threads: 1})
	i := resident(b, e, write(b, modelgen.Spec{Family: modelgen.Scale, Seed: 1}))
	in := []tensor.Tensor{{Name: "input", Datatype: tensor.FP32, Shape: []int64{1, 4}, Data: make([]byte, 16)}}
	out := []tensor.Tensor{{Name: "output", Datatype: tensor.FP32, Shape: []int64{1, 4}, Data: make([]byte, 16)}}
	b.Run("without the engine", func(b *testing.B) { benchmarkRaw(b, i.(*instance).session.DynamicAdvancedSession) })
	cancellable, cancel := context.WithCancel(b.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": cancellable} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := i.Run(ctx, in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchmarkRaw is the binding on tensors that are made once.
func benchmarkRaw(b *testing.B, session *ort.DynamicAdvancedSession) {
	var values [2][]ort.Value
	for n := range values {
		v, err := ort.NewCustomDataTensor(ort.Shape{1, 4}, make([]byte, 16), ort.TensorElementDataTypeFloat)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Destroy()
		values[n] = []ort.Value{v}
	}
	for b.Loop() {
		if err := session.Run(values[0], values[1]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRelu600K is 602,112 bytes in and out.
func BenchmarkRelu600K(b *testing.B) {
	e := ownEngine(b, Options{Threads: 1})
	i := resident(b, e, write(b, modelgen.Spec{Family: modelgen.Relu}))
	in := []tensor.Tensor{randomImage(224)}
	out := []tensor.Tensor{{Name: "output", Datatype: tensor.FP32, Shape: in[0].Shape, Data: make([]byte, len(in[0].Data))}}
	for _, c := range []struct {
		name string
		out  []tensor.Tensor
	}{{"buffers of the caller", out}, {"buffers of the engine", []tensor.Tensor{{Name: "output"}}}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				mine := append([]tensor.Tensor(nil), c.out...)
				if err := i.Run(b.Context(), in, mine); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTwoAtOnce is two models that run side by side on a thread each.
func BenchmarkTwoAtOnce(b *testing.B) {
	e := ownEngine(b, Options{Threads: 1})
	var instances []engine.Instance
	for seed := range uint64(2) {
		instances = append(instances, resident(b, e, write(b, modelgen.Spec{Family: modelgen.SqueezeNet, Seed: seed})))
	}
	in := []tensor.Tensor{randomImage(224)}
	for b.Loop() {
		var wait sync.WaitGroup
		for _, i := range instances {
			wait.Go(func() {
				if err := i.Run(b.Context(), in, []tensor.Tensor{{Name: "output"}}); err != nil {
					b.Error(err)
				}
			})
		}
		wait.Wait()
	}
}

// BenchmarkSwap is an eviction and the load after it.
func BenchmarkSwap(b *testing.B) {
	for _, s := range []modelgen.Spec{{Family: modelgen.SqueezeNet}, {Family: modelgen.ResNet18, Width: 0.5}} {
		b.Run(string(s.Family), func(b *testing.B) {
			e := ownEngine(b, Options{Threads: 1})
			st, err := e.Open(b.Context(), write(b, s))
			if err != nil {
				b.Fatal(err)
			}
			closed(b, st)
			for b.Loop() {
				i, err := st.Load(b.Context(), CPU)
				if err != nil {
					b.Fatal(err)
				}
				if err := i.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
