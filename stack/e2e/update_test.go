package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestUpdateOfModel replaces a function by one whose model has the same name and
// version but other weights, under load: no request fails, and every answer is
// that of one of the two models, the new one's in the end.
func TestUpdateOfModel(t *testing.T) {
	l := start(t, lab.Options{})
	env := raw("input", "output", "1,4")
	deployRaw(t, l, "scale", generate(t, modelgen.Spec{Family: modelgen.Scale, Seed: 1}), env)
	build(t, l, "scale-two", "go-trt", "stack/bench/function",
		map[string][]byte{"m/1": generate(t, modelgen.Spec{Family: modelgen.Scale, Seed: 2})})
	in := floats(1, 2, 3, 4)
	old := invoke(t, l, "scale", "", in)
	if old.Status != http.StatusOK {
		t.Fatalf("scale answered %d: %s", old.Status, old.Body)
	}

	must(t, l.System(t.Context(), http.MethodPut, "/system/functions", types.FunctionDeployment{
		Service: "scale", Image: "scale-two", Namespace: lab.Namespace, EnvVars: env,
	}, nil))
	var next []byte
	requests := 0
	within(t, 20*time.Second, func() error {
		for range 20 {
			a := invoke(t, l, "scale", "", in)
			requests++
			switch {
			case a.Status != http.StatusOK:
				t.Fatalf("request %d during the update answered %d: %s", requests, a.Status, a.Body)
			case next == nil && !bytes.Equal(a.Body, old.Body):
				next = a.Body
			case next != nil && bytes.Equal(a.Body, old.Body):
				t.Fatalf("request %d: the old model answered after the new one", requests)
			case next != nil && !bytes.Equal(a.Body, next):
				t.Fatalf("request %d: %x is neither the old answer %x nor the new %x", requests, a.Body, old.Body, next)
			}
		}
		if next == nil {
			return fmt.Errorf("still the old model after %d requests", requests)
		}
		return nil
	})
	// The former revision's model is forgotten once its replica has ended.
	within(t, 20*time.Second, func() error {
		s, err := l.NodeStatus(t.Context())
		if err == nil && len(s.Models) != 1 {
			err = fmt.Errorf("%d models are known", len(s.Models))
		}
		return err
	})
	if a := invoke(t, l, "scale", "", in); !bytes.Equal(a.Body, next) {
		t.Errorf("in the end %d: %x", a.Status, a.Body)
	}
}
