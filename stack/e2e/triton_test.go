package e2e

import (
	"encoding/hex"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestTritonClient lets Triton's own client talk to a function, through provider
// and watchdog.
func TestTritonClient(t *testing.T) {
	python := os.Getenv("TRITON_PYTHON")
	if python == "" {
		t.Skip("TRITON_PYTHON names no Python with the packages of requirements.txt; `make test` makes one")
	}
	l := start(t, lab.Options{})
	build(t, l, "digits", "go-trt", "", nil)
	// The client unloads the model and loads it again.
	deploy(t, l, types.FunctionDeployment{Service: "digits", Image: "digits", EnvVars: map[string]string{"model_control": "true"}})
	url := strings.TrimPrefix(l.URL, "http://") + "/function/digits." + lab.Namespace
	out, err := exec.CommandContext(t.Context(), python, "triton_client.py", url, "digits").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answer, err := hex.DecodeString(strings.TrimSpace(string(out)))
	if err != nil || len(answer) != 10*4 {
		t.Errorf("the client got %s (%v)", out, err)
	}
}
