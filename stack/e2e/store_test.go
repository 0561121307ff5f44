package e2e

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestFullDisk gives the store 2 MB: a function whose model does not fit is told
// so, the others go on, and its removal leaves nothing behind.
func TestFullDisk(t *testing.T) {
	dir, err := os.MkdirTemp("", "e2e-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	store := dir + "/store"
	must(t, os.Mkdir(store, 0o755))
	if err := syscall.Mount("tmpfs", store, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(store, 0)) })
	l := start(t, lab.Options{Dir: dir, Provider: []string{"queue_timeout=2s"}})
	deployDigits(t, l)

	model := generate(t, modelgen.Spec{Family: modelgen.SqueezeNet, Resolution: 64})
	build(t, l, "large", "go-trt", "stack/bench/function", map[string][]byte{"m/1": model})
	must(t, l.System(t.Context(), http.MethodPost, "/system/functions", types.FunctionDeployment{
		Service: "large", Image: "large", Namespace: lab.Namespace, EnvVars: raw("input", "output", "1,3,64,64"),
	}, nil))
	a := invoke(t, l, "large", "", make([]byte, 3*64*64*4))
	if a.Status != http.StatusServiceUnavailable {
		t.Errorf("the function whose model does not fit answered %d: %s", a.Status, a.Body)
	}
	t.Logf("it got %d: %s", a.Status, a.Body)
	wantDigit(t, l, "digits")

	must(t, l.Remove(t.Context(), "large"))
	small := generate(t, modelgen.Spec{Family: modelgen.Scale})
	deployRaw(t, l, "small", small, raw("input", "output", "1,4"))
	if a := invoke(t, l, "small", "", floats(1, 2, 3, 4)); a.Status != http.StatusOK {
		t.Errorf("a function that fits answered %d: %s", a.Status, a.Body)
	}
}

// TestNothingIsLeft removes the functions: no byte is counted any more, and no
// file is kept.
func TestNothingIsLeft(t *testing.T) {
	l := start(t, lab.Options{})
	deployDigits(t, l)
	wantDigit(t, l, "digits")
	must(t, l.RemoveAll(t.Context()))
	within(t, 20*time.Second, func() error {
		s, err := l.NodeStatus(t.Context())
		if err != nil {
			return err
		}
		return nothingHeld(s)
	})
}

// nothingHeld is nil if a node holds no model and no bytes.
func nothingHeld(s *api.NodeStatus) error {
	if held := lab.Held(s); held != 0 || len(s.Models) != 0 {
		return fmt.Errorf("%d bytes and %d models are held", held, len(s.Models))
	}
	return nil
}
