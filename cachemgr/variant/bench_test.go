package variant

import (
	"context"
	"log/slog"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// still answers at once and changes nothing.
type still struct{ *fakeManager }

func (still) Infer(context.Context, cachemgr.Request) (cachemgr.Result, error) {
	return cachemgr.Result{}, nil
}

// What a router adds to a request.
func BenchmarkInfer(b *testing.B) {
	builder := newBuilder()
	builder.proven["m-fp16-4"] = 4
	r, err := New(Config{CPU: newFake("cpu", batched(-1)), GPU: still{newFake("gpu", batched(4))}, Builder: builder, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(cachemgr.Model{Digest: "m", Format: engine.FormatONNX, Terms: terms4}); err != nil {
		b.Fatal(err)
	}
	for r.Status().Models["m"].Instances != nil { // until the plan is ready
		<-r.Changed(r.Status().Generation)
	}
	q := request("m", 1, terms4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Infer(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}
