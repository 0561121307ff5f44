package docker

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// openFake opens a runtime on a fake daemon.
func openFake(t *testing.T, d daemon, dir string, change ...func(*Config)) *Runtime {
	t.Helper()
	config := Config{Name: "test", Dir: dir, CachemgrSocket: filepath.Join(dir, "run", "oip.sock")}
	for _, c := range change {
		c(&config)
	}
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	r, err := open(t.Context(), config, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func deployment(name string, replicas int) runtime.Deployment {
	return runtime.Deployment{
		ID:       runtime.ID{Namespace: runtime.DefaultNamespace, Name: name},
		Request:  types.FunctionDeployment{Service: name, Image: "image"},
		Replicas: replicas, StopTimeout: time.Minute,
	}
}

const patience = 20 * time.Second

// await returns a function once it is as it should be.
func await(t *testing.T, r *Runtime, name string, is func(*runtime.Function) bool) *runtime.Function {
	t.Helper()
	timeout := time.After(patience)
	for {
		s := r.Snapshot()
		f := s.Functions[runtime.ID{Namespace: runtime.DefaultNamespace, Name: name}]
		if f != nil && is(f) {
			return f
		}
		select {
		case <-r.Changed(s):
		case <-timeout:
			t.Fatalf("%s is not as it should be: %+v", name, f)
		}
	}
}

// awaitProblem waits for words in a function's Problem.
func awaitProblem(t *testing.T, r *Runtime, name, words string) {
	t.Helper()
	await(t, r, name, func(f *runtime.Function) bool { return strings.Contains(f.Problem, words) })
}

func replicas(n int) func(*runtime.Function) bool {
	return func(f *runtime.Function) bool { return len(f.Replicas) == n }
}
