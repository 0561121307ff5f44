package process

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const patience = 20 * time.Second

// testDeadline is true until a test has waited long enough.
func testDeadline() func() bool {
	end := time.Now().Add(patience)
	return func() bool { return time.Now().Before(end) }
}

func id(name string) runtime.ID { return runtime.ID{Namespace: runtime.DefaultNamespace, Name: name} }

// deployment of testImage with environment variables in pairs.
func deployment(name string, replicas int, variables ...string) runtime.Deployment {
	env := map[string]string{}
	for pair := range slices.Chunk(variables, 2) {
		env[pair[0]] = pair[1]
	}
	return runtime.Deployment{
		ID:          id(name),
		Request:     types.FunctionDeployment{Service: name, Image: testImage, Namespace: runtime.DefaultNamespace, EnvVars: env},
		Replicas:    replicas,
		StopTimeout: patience,
	}
}

func create(t *testing.T, r *Runtime, d runtime.Deployment) {
	t.Helper()
	if err := r.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// wait returns a function once it is as it should be.
func wait(t *testing.T, r *Runtime, id runtime.ID, is func(*runtime.Function) bool) *runtime.Function {
	t.Helper()
	timeout := time.After(patience)
	for {
		s := r.Snapshot()
		f := s.Functions[id]
		if f != nil && is(f) {
			return f
		}
		select {
		case <-r.Changed(s):
		case <-timeout:
			t.Fatalf("%s is not as it should be: %+v", id, f)
		}
	}
}

func ready(t *testing.T, r *Runtime, id runtime.ID, replicas int) *runtime.Function {
	t.Helper()
	return wait(t, r, id, func(f *runtime.Function) bool {
		return len(f.Replicas) == replicas && !slices.ContainsFunc(f.Replicas, func(r runtime.Replica) bool { return !r.Ready })
	})
}

// killReplicas has the watchdogs of a function's replicas kill themselves.
func killReplicas(t *testing.T, r *Runtime, id runtime.ID) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, replica := range r.Snapshot().Functions[id].Replicas {
		res, err := client.Post(replica.URL+"/die", "", nil)
		if err == nil {
			res.Body.Close()
			t.Errorf("a process that was killed has answered %s", res.Status)
		}
	}
}
