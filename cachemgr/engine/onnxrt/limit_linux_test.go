package onnxrt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// hog runs the model that asks for 16 tensors of so many floats.
func hog(t *testing.T, i engine.Instance, floats uint64) error {
	return i.Run(t.Context(), []tensor.Tensor{int64Input("n", floats)}, []tensor.Tensor{{Name: "output"}})
}

func TestRunsStayUnderTheMemoryLimit(t *testing.T) {
	const limit = 128 << 20
	e := ownEngine(t, Options{Threads: 1, MemoryLimit: limit})
	huge := resident(t, e, write(t, modelgen.Spec{Family: modelgen.Huge}))
	neighbour := resident(t, e, write(t, modelgen.Spec{Family: modelgen.SqueezeNet, Width: 0.25, Resolution: 64}))
	image := randomImage(64)
	want := answer(t, neighbour, image)
	before := allocated()

	// Go's own heap grows meanwhile.
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { churn(ctx) })
	for round := range 5 {
		// In one piece of gigabytes, and in pieces that fit until many are there.
		for _, floats := range []uint64{1 << 60, 1 << 40, 1 << 30, 1 << 24, limit/4/16 + 1} {
			if err := hog(t, huge, floats); !errors.Is(err, engine.ErrNoMemory) {
				t.Errorf("round %d: 16 tensors of %d floats: got %v, want %v", round, floats, err, engine.ErrNoMemory)
			}
		}
		if got := answer(t, neighbour, image); got != want {
			t.Errorf("round %d: the neighbour answers something else", round)
		}
		if err := hog(t, huge, limit/4/32); err != nil {
			t.Errorf("round %d: half of the limit: %v", round, err)
		}
	}
	cancel()
	wait.Wait()
	if after := allocated(); after != before {
		t.Errorf("%d bytes are allocated, before it were %d", after, before)
	}
}

// churn makes garbage until ctx ends.
func churn(ctx context.Context) {
	var keep [][]byte
	for ctx.Err() == nil {
		keep = append(keep, make([]byte, 1<<20))
		if len(keep) > 16 {
			keep = nil
		}
	}
}

const limitedChild = "ONNXRT_TEST_LIMITED"

// A limit holds for a whole process and cannot be lifted, so the test is in a
// process of its own.
func TestLimitMemory(t *testing.T) {
	if os.Getenv(limitedChild) != "" {
		underLimit(t)
		return
	}
	testlibs.ONNXRuntime(t)
	child := exec.Command(os.Args[0], "-test.run=^TestLimitMemory$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), limitedChild+"=1")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLimitMemory") {
		t.Errorf("%v\n%s", err, out)
	}
}

func underLimit(t *testing.T) {
	if err := LimitMemory(0); err == nil {
		t.Error("a limit of 0 bytes was set")
	}
	if err := LimitMemory(2 << 30); err != nil {
		t.Fatal(err)
	}
	// The engine's own limit is out of the way.
	huge := resident(t, ownEngine(t, Options{Threads: 1, MemoryLimit: 1 << 50}), write(t, modelgen.Spec{Family: modelgen.Huge}))
	for range 3 {
		if err := hog(t, huge, 1<<30); !errors.Is(err, engine.ErrNoMemory) {
			t.Errorf("4 GiB: got %v, want %v", err, engine.ErrNoMemory)
		}
		if err := hog(t, huge, 1000); err != nil {
			t.Errorf("a modest request afterwards: %v", err)
		}
	}
}
