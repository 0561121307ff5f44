package e2e

import (
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

func TestPythonFunction(t *testing.T) {
	l := start(t, lab.Options{})
	build(t, l, "pydigits", "python-trt", "", nil)
	deploy(t, l, types.FunctionDeployment{Service: "pydigits", Image: "pydigits"})
	wantDigit(t, l, "pydigits")
	if a := invoke(t, l, "pydigits", "", []byte("hello")); a.Status != 400 {
		t.Errorf("bad input was answered with %d: %s", a.Status, a.Body)
	}
}
