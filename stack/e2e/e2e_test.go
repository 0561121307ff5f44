// Package e2e tests the real programs together, each a process of its own on
// loopback: what people send, what goes wrong, and what is killed. The flow with
// faas-cli is tested by `make demo`.
package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

var programs *lab.Programs

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "e2e-")
		if err == nil && os.Getenv(insideVariable) != "" {
			err = loopbackUp()
		}
		if err == nil {
			defer os.RemoveAll(dir)
			programs, err = lab.Build(context.Background(), dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		return m.Run()
	}())
}

// start starts a lab, which the test's end removes. After that nothing of the
// lab's processes may be left.
func start(t *testing.T, opt lab.Options) *lab.Lab {
	t.Helper()
	if opt.Dir == "" {
		// Not t.TempDir: its path is too long for Unix sockets.
		dir, err := os.MkdirTemp("", "e2e-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		opt.Dir = dir
	}
	l, err := lab.Start(t.Context(), programs, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error("stop:", err)
		}
		if t.Failed() {
			t.Logf("provider:\n%s\ncachemgr:\n%s", l.Provider.Tail(), l.Cachemgr.Tail())
		}
	})
	return l
}

// build builds an image, or fails the test.
func build(t *testing.T, l *lab.Lab, image, template, function string, models map[string][]byte) {
	t.Helper()
	if err := l.Build(t.Context(), image, template, function, models); err != nil {
		t.Fatal(err)
	}
}

// deploy deploys a function and waits for it, or fails the test.
func deploy(t *testing.T, l *lab.Lab, d types.FunctionDeployment) {
	t.Helper()
	if err := l.Deploy(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// deployDigits makes the example function of go-trt.
func deployDigits(t *testing.T, l *lab.Lab) {
	t.Helper()
	build(t, l, "digits", "go-trt", "", nil)
	deploy(t, l, types.FunctionDeployment{Service: "digits", Image: "digits"})
}

// raw is the environment of the benchmarks' function for a model "m" with one
// FP32 input and one output.
func raw(input, output, shape string) map[string]string {
	return map[string]string{"model": "m", "input": input, "output": output, "shape": shape}
}

// deployRaw makes a function of a model that takes and gives bytes.
func deployRaw(t *testing.T, l *lab.Lab, name string, model []byte, env map[string]string) {
	t.Helper()
	build(t, l, name, "go-trt", "stack/bench/function", map[string][]byte{"m/1": model})
	deploy(t, l, types.FunctionDeployment{Service: name, Image: name, EnvVars: env})
}

func generate(t *testing.T, s modelgen.Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := modelgen.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func scans(t *testing.T) []digits.Scan {
	t.Helper()
	scans, err := digits.HeldOut()
	if err != nil {
		t.Fatal(err)
	}
	return scans
}

// invoke calls a function; a request that gets no answer fails the test.
func invoke(t *testing.T, l *lab.Lab, name, path string, body []byte) *lab.Answer {
	t.Helper()
	a, err := l.Invoke(t.Context(), name, path, body)
	if err != nil {
		t.Fatalf("invoke %s: %v", name, err)
	}
	return a
}

// wantDigit invokes digits with a scan that the model gets right, and wants that.
// It returns the answer.
func wantDigit(t *testing.T, l *lab.Lab, name string) *lab.Answer {
	t.Helper()
	s := scans(t)[0]
	pixels, err := json.Marshal(s.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	a := invoke(t, l, name, "", pixels)
	var got struct {
		Class int `json:"class"`
	}
	if a.Status != http.StatusOK {
		t.Fatalf("%s answered %d: %s", name, a.Status, a.Body)
	}
	if err := json.Unmarshal(a.Body, &got); err != nil || got.Class != s.Digit {
		t.Fatalf("%s answered %s to a %d (%v)", name, a.Body, s.Digit, err)
	}
	return a
}

// floats are values as a function's body.
func floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// within polls until f returns nil, or fails the test.
func within(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := lab.Poll(ctx, f); err != nil {
		t.Fatal(err)
	}
}

func stateFile(l *lab.Lab, path ...string) string {
	return filepath.Join(append([]string{l.Dir}, path...)...)
}
