package onnxrt

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile/onnxtest"
)

// An output whose size only the run tells is looked at before it is copied.
func TestTooLargeOutputsAreNotCopied(t *testing.T) {
	const most = 1 << 20
	e := ownEngine(t, Options{Threads: 1, MaxOutputBytes: most, MemoryLimit: 1 << 30})
	i := resident(t, e, save(t, "fill", onnxtest.Model(
		onnxtest.Info(onnxtest.Input, "n", elemInt64, 1), onnxtest.Info(onnxtest.Output, "y", elemFloat, "m"),
		onnxtest.Op("ConstantOfShape", "n", "y"))))
	held := allocated()
	for _, floats := range []uint64{most / 4, 64 << 20} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := []tensor.Tensor{{Name: "y"}}
		err := i.Run(t.Context(), []tensor.Tensor{int64Input("n", floats)}, out)
		runtime.ReadMemStats(&after)
		if fits := floats*4 <= most; fits != (err == nil) || !fits && !errors.Is(err, engine.ErrNoMemory) {
			t.Errorf("%d floats: %v", floats, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 2*most {
			t.Errorf("%d floats: Go's heap took %d bytes", floats, took)
		}
	}
	if now := allocated(); now != held {
		t.Errorf("%d bytes are allocated, before it were %d", now, held)
	}
}

// Whatever a run gives, what the runtime has allocated for it goes back.
func TestOutputsOfAnotherRankThanDeclared(t *testing.T) {
	e := ownEngine(t, Options{Threads: 1})
	info := onnxtest.Info
	i := resident(t, e, save(t, "ranks", onnxtest.Model(
		info(onnxtest.Input, "x", elemFloat, 1), info(onnxtest.Input, "shape", elemInt64, "rank"), info(onnxtest.Input, "n", elemInt64, 1),
		info(onnxtest.Output, "big", elemFloat, "a"), info(onnxtest.Output, "y", elemFloat, "b"), info(onnxtest.Output, "more", elemFloat, "c"),
		onnxtest.Op("ConstantOfShape", "n", "big"), onnxtest.Op("Reshape", "x shape", "y"), onnxtest.Op("ConstantOfShape", "n", "more"))))
	held := allocated()
	x := numbers("x", tensor.FP32, []int64{1}, float32(2.5))
	for rank, want := range map[int]string{0: "[]", 1: "[1]", 3: "[1 1 1]"} {
		shape := numbers("shape", tensor.Int64, []int64{int64(rank)}, []int64{1, 1, 1}[:rank])
		out := []tensor.Tensor{{Name: "y"}, {Name: "more"}}
		err := i.Run(t.Context(), []tensor.Tensor{x, shape, int64Input("n", 1000)}, out)
		switch {
		case err != nil:
			if !errors.Is(err, engine.ErrBadInput) {
				t.Errorf("rank %d: %v", rank, err)
			}
		case fmt.Sprint(out[0].Shape) != want || string(out[0].Data) != string(x.Data) || len(out[1].Data) != 4000 || strings.Trim(string(out[1].Data), "\x00") != "":
			t.Errorf("rank %d: %v", rank, out)
		}
		if now := allocated(); now != held {
			t.Errorf("rank %d: %d bytes are allocated, before it were %d", rank, now, held)
		}
	}
}
