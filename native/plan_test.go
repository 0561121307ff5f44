package native

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// planSpec describes a plan of the driver double: see shim/double/plan.h.
type planSpec struct {
	seed     uint64
	weights  int // FP32, in three allocations
	inputs   int
	outputs  int
	maxBatch int
	takes    time.Duration // a run
	foreign  bool          // built for another version
}

// planHeader is the begin of the file after magic and checksum.
type planHeader struct {
	Inputs, Outputs, MaxBatch, Flags, Micros, Blocks uint32
	Weights                                          uint64
}

func writePlan(t testing.TB, s planSpec) engine.Model {
	t.Helper()
	h := planHeader{
		Inputs: uint32(s.inputs), Outputs: uint32(s.outputs), MaxBatch: uint32(s.maxBatch),
		Micros: uint32(s.takes.Microseconds()), Blocks: 3, Weights: uint64(s.weights),
	}
	if s.foreign {
		h.Flags = 1
	}
	rng := rand.New(rand.NewPCG(s.seed, 1))
	weights := make([]float32, s.weights)
	for i := range weights {
		weights[i] = rng.Float32()*2 - 1
	}
	var rest bytes.Buffer
	for _, part := range []any{h, weights} {
		if err := binary.Write(&rest, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	sum := fnv.New64a()
	sum.Write(rest.Bytes())
	file := binary.LittleEndian.AppendUint64([]byte("DOUBLEP1"), sum.Sum64())
	path := filepath.Join(t.TempDir(), "model.plan")
	if err := os.WriteFile(path, append(file, rest.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	return engine.Model{Name: filepath.Base(filepath.Dir(path)), Path: path, Format: engine.FormatPlan}
}
