// Package runtimetest is the suite that every runtime has to pass.
package runtimetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Harness is what the suite needs to know of a runtime.
type Harness struct {
	// Image is the name of an image whose program is Replica, with
	// ReplicaVariable set in its environment.
	Image string
	// Open opens the runtime on the state that an earlier one left when it was
	// closed. Its token source is Token.
	Open func(t *testing.T) runtime.Runtime
	// NotFoundAtCreate: a deployment with an unknown image is refused. If not,
	// it has a Problem.
	NotFoundAtCreate bool
}

// patience is how long the suite waits for what should happen.
const patience = 20 * time.Second

// suite is the state of one run. Its tests share the runtime and use functions
// of names of their own.
type suite struct {
	Harness
	rt     runtime.Runtime
	ns     string
	client *http.Client
}

// Run tests a runtime.
func Run(t *testing.T, h Harness) {
	s := &suite{Harness: h, rt: h.Open(t), client: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// Nobody answers at the address of a container that is gone.
			DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		},
		Timeout: patience,
	}}
	defer func() {
		if err := s.rt.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	namespaces, err := s.rt.ListNamespaces(t.Context())
	if err != nil || len(namespaces) == 0 {
		t.Fatalf("ListNamespaces: %v, %v; want at least the default one", namespaces, err)
	}
	s.ns = namespaces[0].Name
	for _, c := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"LifeCycle", (*suite).lifeCycle},
		{"Refusals", (*suite).refusals},
		{"Verbatim", (*suite).verbatim},
		{"SnapshotsDoNotChange", (*suite).snapshots},
		{"Scale", (*suite).scale},
		{"Environment", (*suite).environment},
		{"OldWatchdog", (*suite).oldWatchdog},
		{"Crash", (*suite).crash},
		{"CrashAtStart", (*suite).crashAtStart},
		{"UnknownImage", (*suite).unknownImage},
		{"UpdateKeepsServing", (*suite).updateKeepsServing},
		{"UpdateThatFails", (*suite).updateThatFails},
		{"StopTimeout", (*suite).stopTimeout},
		{"Secrets", (*suite).secrets},
		{"SecretsOfFunctions", (*suite).secretsOfFunctions},
		{"Token", (*suite).token},
		{"Namespaces", (*suite).namespaces},
		{"NamespacesAreApart", (*suite).apart},
		{"Logs", (*suite).logs},
		{"LogsFollow", (*suite).logsFollow},
		{"Restart", (*suite).restart},
		{"Info", (*suite).info},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(s, t) })
	}
}

func (s *suite) id(name string) runtime.ID { return runtime.ID{Namespace: s.ns, Name: name} }

// deployment of the suite's image with some environment variables, in pairs.
func (s *suite) deployment(name string, replicas int, variables ...string) runtime.Deployment {
	env := map[string]string{}
	for pair := range slices.Chunk(variables, 2) {
		env[pair[0]] = pair[1]
	}
	return runtime.Deployment{
		ID: s.id(name),
		Request: types.FunctionDeployment{
			Service: name, Image: s.Image, Namespace: s.ns, EnvVars: env,
			Labels: &map[string]string{}, Annotations: &map[string]string{},
		},
		Replicas:    replicas,
		StopTimeout: patience,
	}
}

// create makes a function that is deleted at the end of the test.
func (s *suite) create(t *testing.T, d runtime.Deployment) {
	t.Helper()
	if err := s.rt.Create(t.Context(), d); err != nil {
		t.Fatalf("Create %s: %v", d.ID, err)
	}
	t.Cleanup(func() {
		if err := s.rt.Delete(context.Background(), d.ID); err != nil {
			t.Errorf("Delete %s: %v", d.ID, err)
		}
	})
}

// wait returns a function of the default namespace once it is as it should be; nil
// stands for no function.
func (s *suite) wait(t *testing.T, name, what string, is func(*runtime.Function) bool) *runtime.Function {
	t.Helper()
	return s.waitID(t, s.id(name), what, is)
}

func (s *suite) waitID(t *testing.T, id runtime.ID, what string, is func(*runtime.Function) bool) *runtime.Function {
	t.Helper()
	timeout := time.After(patience)
	for {
		snapshot := s.rt.Snapshot()
		f := snapshot.Functions[id]
		if is(f) {
			return f
		}
		select {
		case <-s.rt.Changed(snapshot):
		case <-timeout:
			t.Fatalf("%s: not %s after %v: %s", id, what, patience, describe(f))
		}
	}
}

func describe(f *runtime.Function) string {
	if f == nil {
		return "no such function"
	}
	text := fmt.Sprintf("desired %d, problem %q", f.Desired, f.Problem)
	for _, r := range f.Replicas {
		text += fmt.Sprintf(", %s ready %v", r.ID, r.Ready)
	}
	return text
}

// ready waits until a function has exactly so many replicas and all are ready.
func (s *suite) ready(t *testing.T, name string, replicas int) *runtime.Function {
	t.Helper()
	return s.readyID(t, s.id(name), replicas)
}

func (s *suite) readyID(t *testing.T, id runtime.ID, replicas int) *runtime.Function {
	t.Helper()
	return s.waitID(t, id, fmt.Sprintf("ready with %d replicas", replicas), func(f *runtime.Function) bool {
		return f != nil && len(f.Replicas) == replicas && !slices.ContainsFunc(f.Replicas, func(r runtime.Replica) bool { return !r.Ready })
	})
}

// ask sends a request to a replica and returns the body of the answer 200.
func (s *suite) ask(method string, r runtime.Replica, path string) (string, error) {
	req, err := http.NewRequest(method, r.URL+path, nil)
	if err != nil {
		return "", err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %s", path, res.StatusCode, body)
	}
	return string(body), err
}

func (s *suite) get(t *testing.T, r runtime.Replica, path string) string {
	t.Helper()
	body, err := s.ask(http.MethodGet, r, path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (s *suite) post(t *testing.T, r runtime.Replica, path string) {
	t.Helper()
	if _, err := s.ask(http.MethodPost, r, path); err != nil {
		t.Fatal(err)
	}
}
