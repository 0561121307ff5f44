package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile/onnxtest"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestPreload: a function that wants its model resident from the start is ready
// when it is, and one whose model the engine refuses is not, and says why.
func TestPreload(t *testing.T) {
	l := start(t, lab.Options{})
	deployed := func(name, image string) {
		t.Helper()
		must(t, l.System(t.Context(), http.MethodPost, "/system/functions", types.FunctionDeployment{
			Service: name, Image: image, Namespace: lab.Namespace, EnvVars: map[string]string{"preload": "all"},
		}, nil))
	}
	build(t, l, "good", "trt-model", "", nil)
	deployed("good", "good")
	must(t, l.Ready(t.Context(), "good"))
	body := []byte(`{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1,1,8,8],"data":[` + strings.Repeat("0,", 63) + `0]}]}`)
	if a := invoke(t, l, "good", "", body); a.Status != 200 || a.Header.Get(api.HeaderCache) != api.CacheHit {
		t.Errorf("the first request found a %q: %d %s", a.Header.Get(api.HeaderCache), a.Status, a.Body)
	}

	// A graph whose output nothing computes can be read, and not be loaded.
	model := onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", 1, 4), onnxtest.Info(onnxtest.Output, "y", 1, 4))
	build(t, l, "bad", "trt-model", "", map[string][]byte{"m/1": model})
	deployed("bad", "bad")
	within(t, 20*time.Second, func() error {
		if why := problem(t, l, "bad"); !strings.Contains(why, `model "m"`) {
			return fmt.Errorf("the operator reads %q", why)
		}
		return nil
	})
	t.Logf("the operator reads %q", problem(t, l, "bad"))
	var status types.FunctionStatus
	must(t, l.System(t.Context(), http.MethodGet, "/system/function/bad?namespace="+lab.Namespace, nil, &status))
	if status.AvailableReplicas != 0 {
		t.Error("it counts as available")
	}
}
