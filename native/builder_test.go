package native

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// build runs the builder and returns its lines and its exit status.
func build(t *testing.T, env []string, args ...string) ([]map[string]any, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testlibs.Builder(t), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(out) {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines, cmd.ProcessState.ExitCode()
}

func scaleModel(t *testing.T) []byte {
	t.Helper()
	var model bytes.Buffer
	if err := modelgen.Write(&model, modelgen.Spec{Family: modelgen.Scale, Seed: 7}); err != nil {
		t.Fatal(err)
	}
	return model.Bytes()
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The plan gives the bits of the ONNX model: its input times its factors.
func TestBuiltPlanComputesTheSame(t *testing.T) {
	model := scaleModel(t)
	onnx := writeFile(t, "model.onnx", model)
	dir := t.TempDir()
	plan, cache := filepath.Join(dir, "model.plan.tmp"), filepath.Join(dir, "timings")
	lines, exit := build(t, nil, "--onnx", onnx, "--out", plan, "--batch", "3", "--timing-cache", cache, "--device", string(double))
	if exit != 0 {
		t.Fatalf("exit status %d: %v", exit, lines)
	}
	last := lines[len(lines)-1]
	info, err := os.Stat(plan)
	if err != nil || last["done"] != true || last["bytes"] != float64(info.Size()) || last["uuid"] != string(double) {
		t.Errorf("%v of %v: %v", last, info, err)
	}
	if _, err := os.Stat(cache); err != nil {
		t.Error(err)
	}
	describes, _ := build(t, nil, "--describe")
	for _, key := range []string{"tensorrt", "sm", "device"} {
		if describes[0][key] != last[key] || last[key] == "" {
			t.Errorf("%s: %v described, and built with %v", key, describes[0][key], last[key])
		}
	}

	e := newEngine(t, Options{})
	st, err := e.Open(t.Context(), engine.Model{Name: "scale", Path: plan, Format: engine.FormatPlan})
	if err != nil {
		t.Fatal(err)
	}
	i, err := st.Load(t.Context(), double)
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{1, -2.5, 3e-40, 1e30, 0.1, 0, float32(math.Copysign(0, -1)), -7}
	in := tensor.Tensor{Name: "input", Datatype: tensor.FP32, Shape: []int64{2, 4}, Data: floats(x)}
	out := []tensor.Tensor{{Name: "output"}}
	if err := i.Run(t.Context(), []tensor.Tensor{in}, out); err != nil {
		t.Fatal(err)
	}
	var factors [4]float32 // the last that modelgen writes
	if _, err := binary.Decode(model[len(model)-16:], binary.LittleEndian, &factors); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, len(x))
	for i := range x {
		want[i] = x[i] * factors[i%4]
	}
	if !bytes.Equal(out[0].Data, floats(want)) {
		t.Errorf("got %x, want %x", out[0].Data, floats(want))
	}
	if err := errors.Join(i.Close(), st.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

func floats(values []float32) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, values)
	return b
}

func TestBuilderFails(t *testing.T) {
	onnx := writeFile(t, "model.onnx", scaleModel(t))
	var relu bytes.Buffer
	if err := modelgen.Write(&relu, modelgen.Spec{Family: modelgen.Relu}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "plan")
	for _, tt := range []struct {
		name string
		fail string
		args []string
		exit int
		says string
	}{
		{"no arguments", "", nil, 2, "--onnx"},
		{"unknown option", "", []string{"--onx", onnx}, 2, "--onx"},
		{"no value", "", []string{"--onnx"}, 2, "value"},
		{"batch", "", []string{"--onnx", onnx, "--out", out, "--batch", "0"}, 2, "--batch"},
		{"workspace", "", []string{"--onnx", onnx, "--out", out, "--workspace", "1G"}, 2, "1G"},
		{"large workspace", "", []string{"--onnx", onnx, "--out", out, "--workspace", strings.Repeat("9", 20)}, 2, "number"},
		{"precision", "", []string{"--onnx", onnx, "--out", out, "--precision", "int8"}, 2, "fp16 or fp32"},
		{"no such device", "", []string{"--onnx", onnx, "--out", out, "--device", "GPU-1"}, 3, "GPU-1"},
		{"another family", "", []string{"--onnx", writeFile(t, "relu.onnx", relu.Bytes()), "--out", out}, 4, "scale"},
		{"no ONNX file", "", []string{"--onnx", writeFile(t, "text", []byte("text")), "--out", out}, 4, "ONNX"},
		{"no file", "", []string{"--onnx", "/no/such/model.onnx", "--out", out}, 1, "/no/such/model.onnx: No such file"},
		{"nowhere to write", "", []string{"--onnx", onnx, "--out", "/no/such/plan"}, 1, "/no/such/plan: No such file"},
		{"a full disk", "", []string{"--onnx", onnx, "--out", "/dev/full"}, 1, "No space"},
		{"no memory", "no_memory", []string{"--onnx", onnx, "--out", out}, 5, "no_memory"},
		{"lost", "device_lost", []string{"--onnx", onnx, "--out", out}, 6, "device_lost"},
	} {
		lines, exit := build(t, []string{"GPUSHIM_DOUBLE_BUILD_FAIL=" + tt.fail}, tt.args...)
		if len(lines) == 0 {
			t.Errorf("%s: no lines, exit status %d", tt.name, exit)
			continue
		}
		last := lines[len(lines)-1]
		if says, _ := last["error"].(string); exit != tt.exit || !strings.Contains(says, tt.says) || last["code"] == nil {
			t.Errorf("%s: exit status %d, %v; want %d and %q", tt.name, exit, last, tt.exit, tt.says)
		}
	}
	if lines, exit := build(t, []string{"GPUSHIM_DOUBLE_BUILD_FAIL=abort"}, "--onnx", onnx, "--out", out); exit >= 0 {
		t.Errorf("it did not die: exit status %d, %v", exit, lines)
	}
}

// A file that is cut anywhere is a bad model.
func TestBuilderOfCutFiles(t *testing.T) {
	model := scaleModel(t)
	dir := t.TempDir()
	for n := range model {
		onnx := filepath.Join(dir, "model.onnx")
		if err := os.WriteFile(onnx, model[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if lines, exit := build(t, nil, "--onnx", onnx, "--out", filepath.Join(dir, "plan")); exit != 4 {
			t.Errorf("%d of %d bytes: exit status %d, %v", n, len(model), exit, lines)
		}
	}
}

// A builder does not outlive who started it.
func TestBuilderEndsWithItsParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), testlibs.Builder(t), "--onnx", writeFile(t, "model.onnx", scaleModel(t)),
		"--out", filepath.Join(t.TempDir(), "plan"), "--until-stdin-ends")
	cmd.Env = append(os.Environ(), "GPUSHIM_DOUBLE_BUILD_MS=600000")
	parent, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "parse") {
		t.Errorf("%q, %v", line, err)
	}
	if err := parent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
}
