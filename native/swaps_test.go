package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

// testRandomOrder has several clients load, run and evict models in random order
// and compares every output with the first one.
func testRandomOrder(t *testing.T, library string, models []engine.Model, rounds int) {
	e, err := New(Options{Library: library, Settings: os.Getenv("GPUSHIM_SETTINGS")})
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wait sync.WaitGroup
	var mu sync.Mutex
	swaps := 0
	for n, m := range slices.Repeat(models, 4) {
		wait.Go(func() {
			count, err := swapAtRandom(t, e, m, rand.New(rand.NewPCG(seed, uint64(n))), rounds)
			if err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			swaps += count
		})
	}
	wait.Wait()
	t.Logf("%d swaps", swaps)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// swapAtRandom loads the model and runs it a few times, over and over.
func swapAtRandom(t *testing.T, e *Engine, m engine.Model, rng *rand.Rand, rounds int) (swaps int, err error) {
	st, err := e.Open(t.Context(), m)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var want []byte
	for range rounds {
		i, err := st.Load(t.Context(), e.devices[0].id)
		if err != nil {
			return swaps, err
		}
		swaps++
		for range 1 + rng.IntN(3) {
			out := []tensor.Tensor{{Name: st.Spec().Outputs[0].Name}}
			err = errors.Join(err, i.Run(t.Context(), patterned(st.Spec().Inputs), out))
			if want == nil {
				want = out[0].Data
			}
			if !bytes.Equal(out[0].Data, want) {
				err = errors.Join(err, errors.New("the output differs from the first one"))
			}
		}
		if err = errors.Join(err, i.Close()); err != nil {
			return swaps, err
		}
	}
	return swaps, nil
}

// patterned inputs of a fixed shape; zeros would hide wrong weights.
func patterned(specs []tensor.Spec) []tensor.Tensor {
	in := make([]tensor.Tensor, len(specs))
	for n, s := range specs {
		size, err := tensor.ByteSize(s.Datatype, s.Shape)
		if err != nil {
			panic(err)
		}
		data := make([]byte, 0, size)
		for i := 0; len(data) < int(size); i++ { // FP32 in the plans here
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i%7)-3))
		}
		in[n] = tensor.Tensor{Name: s.Name, Datatype: s.Datatype, Shape: s.Shape, Data: data}
	}
	return in
}

// On the double an output depends on all of the weights.
func TestRandomOrder(t *testing.T) {
	var models []engine.Model
	for n := range 3 {
		models = append(models, writePlan(t, planSpec{seed: uint64(n), weights: 40_000 * (n + 1), inputs: 4, outputs: 4}))
	}
	testRandomOrder(t, testlibs.Double(t), models, 20)
}
