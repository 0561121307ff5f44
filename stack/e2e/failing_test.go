package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestFunctionThatNeverStarts answers at once, with the reason, once it is known that
// replicas end again and again; and an update repairs it.
func TestFunctionThatNeverStarts(t *testing.T) {
	l := start(t, lab.Options{Provider: []string{"queue_timeout=8s"}})
	build(t, l, "streams", "go-trt", "stack/e2e/testdata/streams", nil)
	d := types.FunctionDeployment{Service: "streams", Image: "streams", Namespace: lab.Namespace, EnvVars: map[string]string{"exec_timeout": "soon"}}
	must(t, l.System(t.Context(), http.MethodPost, "/system/functions", d, nil))
	within(t, 40*time.Second, func() error {
		began := time.Now()
		a := invoke(t, l, "streams", "", nil)
		took := time.Since(began)
		if a.Status != http.StatusServiceUnavailable || !strings.Contains(string(a.Body), "exec_timeout") || a.Header.Get("Retry-After") == "" {
			t.Fatalf("after %v it answered %d %v: %s", took, a.Status, a.Header, a.Body)
		}
		if took > 3*time.Second {
			return fmt.Errorf("the answer took %v", took)
		}
		return nil
	})
	d.EnvVars = nil
	must(t, l.System(t.Context(), http.MethodPut, "/system/functions", d, nil))
	if a := invoke(t, l, "streams", "", []byte("hello\n")); a.Status != http.StatusOK {
		t.Errorf("repaired, it answered %d: %s", a.Status, a.Body)
	}
}
