package e2e

import (
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

func TestPythonFunction(t *testing.T) {
	l := start(t, lab.Options{})
	build(t, l, "pydigits", "python-trt", "", nil)
	deploy(t, l, types.FunctionDeployment{Service: "pydigits", Image: "pydigits"})
	// The handler asks for its model at /v2; what that found is in its own answer.
	wantDigit(t, l, "pydigits") // the model is loaded
	h := wantDigit(t, l, "pydigits").Header
	if h.Get(api.HeaderCache) != api.CacheHit || h.Get(api.HeaderEngine) == "" || h.Get(api.HeaderTiming) == "" {
		t.Errorf("the answer says %v", h)
	}
	if a := invoke(t, l, "pydigits", "", []byte("hello")); a.Status != 400 {
		t.Errorf("bad input was answered with %d: %s", a.Status, a.Body)
	}
}
