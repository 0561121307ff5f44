package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// scaleModel is a model that the double can run: FP32 [-1,4] times its factors.
func scaleModel(t *testing.T, seed uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := modelgen.Write(&b, modelgen.Spec{Family: modelgen.Scale, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// planOf is the plan of an ONNX file.
func planOf(t *testing.T, onnx []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "model.plan")
	if err := os.WriteFile(in, onnx, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), testlibs.Builder(t), "--onnx", in, "--out", out, "--batch", "8").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	plan, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// offerOne makes one file the caller's only model, called "m", and returns what
// the node says is wrong with it.
func offerOne(t *testing.T, c *api.Client, format string, content []byte, config api.ModelConfig) (refused string) {
	t.Helper()
	sum := sha256.Sum256(content)
	answers, err := c.Offer(t.Context(), api.OfferRequest{Models: []api.Offer{{
		Name: "m", Version: "1", Format: format, Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Size: int64(len(content)), Config: config,
	}}}, func(api.Offer) (api.File, error) { return file{bytes.NewReader(content)}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return answers[0].Error
}

// scaleInput is rows of four numbers.
func scaleInput(rows int) *oip.Request {
	var data []byte
	for i := range 4 * rows {
		data, _ = binary.Append(data, binary.LittleEndian, float32(i)-1.5)
	}
	return request1("input", tensor.FP32, []int64{int64(rows), 4}, data)
}

// inferScale runs the model "m" and returns its output.
func inferScale(t *testing.T, c *api.Client, call api.Call, rows int) ([]byte, api.Info, error) {
	call.Model = "m"
	resp, info, err := c.Infer(t.Context(), call, scaleInput(rows))
	if err != nil {
		return nil, info, err
	}
	defer resp.Release()
	for _, out := range resp.Outputs {
		if out.Name == "output" {
			return slices.Clone(out.Data), info, nil
		}
	}
	t.Fatalf("no output among %v", resp.Outputs)
	return nil, info, nil
}

func gpuEnviron(t *testing.T, environ ...string) []string {
	return append([]string{"engine=tensorrt", "cpu_fallback=false", "gpushim_library=" + testlibs.Double(t)}, environ...)
}

func TestPlansOnGPU(t *testing.T) {
	c, stop := startIn(t, socketDir(t), gpuEnviron(t, "allow_plans=true")...)
	if refused := offerOne(t, c, "plan", planOf(t, scaleModel(t, 1)), api.ModelConfig{}); refused != "" {
		t.Fatal(refused)
	}
	first, info, err := inferScale(t, c, api.Call{}, 2)
	if err != nil || info.Engine != "tensorrt" {
		t.Fatalf("%+v, %v", info, err)
	}
	second, info, err := inferScale(t, c, api.Call{}, 2)
	if err != nil || info.Cache != api.CacheHit || !bytes.Equal(first, second) {
		t.Errorf("%+v, %v", info, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestPlansAreRefused(t *testing.T) {
	c, stop := startIn(t, socketDir(t), gpuEnviron(t)...)
	if refused := offerOne(t, c, "plan", planOf(t, scaleModel(t, 1)), api.ModelConfig{}); !strings.Contains(refused, "allow_plans") {
		t.Errorf("refused with %q", refused)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// foreign is a plan of the double as one for another version: see
// native/shim/double/plan.h.
func foreign(plan []byte) []byte {
	const checksum, flags = 8, 28
	out := slices.Clone(plan)
	out[flags] |= 1
	sum := fnv.New64a()
	sum.Write(out[checksum+8:])
	binary.LittleEndian.PutUint64(out[checksum:], sum.Sum64())
	return out
}
