package runtimetest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func (s *suite) lifeCycle(t *testing.T) {
	ctx, d := t.Context(), s.deployment("life", 1)
	for name, err := range map[string]error{
		"Update": s.rt.Update(ctx, d),
		"Scale":  s.rt.Scale(ctx, d.ID, 1),
		"Delete": s.rt.Delete(ctx, d.ID),
	} {
		if !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("%s of an unknown function: %v, want ErrNotFound", name, err)
		}
	}
	before := time.Now().Add(-time.Second)
	if err := s.rt.Create(ctx, d); err != nil {
		t.Fatal(err)
	}
	if f := s.rt.Snapshot().Functions[d.ID]; f == nil || f.Desired != 1 {
		t.Errorf("right after Create: %s", describe(f))
	}
	if err := s.rt.Create(ctx, d); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("the second Create: %v, want ErrExists", err)
	}
	first := s.ready(t, "life", 1)
	if first.UID == "" || first.Problem != "" || first.CreatedAt.Before(before) || first.CreatedAt.After(time.Now()) {
		t.Errorf("UID %q, problem %q, created at %v", first.UID, first.Problem, first.CreatedAt)
	}
	if r := first.Replicas[0]; r.ID == "" || r.Node == "" || r.Started.Before(before) {
		t.Errorf("replica %+v", r)
	}
	s.get(t, first.Replicas[0], "/version")
	if err := s.rt.Delete(ctx, d.ID); err != nil {
		t.Fatal(err)
	}
	if f := s.rt.Snapshot().Functions[d.ID]; f != nil {
		t.Errorf("right after Delete: %s", describe(f))
	}
	s.create(t, d) // the name is free at once
	second := s.ready(t, "life", 1)
	if second.UID == first.UID || second.Replicas[0].ID == first.Replicas[0].ID {
		t.Error("a new function has the UID or a replica of the deleted one")
	}
	s.gone(t, first.Replicas[0])
}

// gone waits until a replica does not answer any more.
func (s *suite) gone(t *testing.T, r runtime.Replica) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if _, err := s.ask(http.MethodGet, r, "/life"); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("replica %s still answers", r.ID)
}

func (s *suite) refusals(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", "UPPER", "-a", strings.Repeat("a", 64)} {
		d := s.deployment("x", 1)
		d.ID.Name = name
		if err := s.rt.Create(t.Context(), d); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("name %q: %v, want ErrInvalid", name, err)
		}
	}
	d := s.deployment("x", 1)
	d.ID.Namespace = "../elsewhere"
	if err := s.rt.Create(t.Context(), d); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("an unknown namespace: %v, want ErrInvalid", err)
	}
	for what, ask := range map[string]func(*runtime.Deployment){
		"nowhere":         func(d *runtime.Deployment) { d.Request.Constraints = []string{"node.hostname == nowhere"} },
		"requests.memory": func(d *runtime.Deployment) { d.Request.Requests = &types.FunctionResources{Memory: "900Ti"} },
		"requests.cpu":    func(d *runtime.Deployment) { d.Request.Requests = &types.FunctionResources{CPU: "9000"} },
		"dedicated":       func(d *runtime.Deployment) { d.Environment = map[string]string{"cachemgr_mode": "child"} },
		"none":            func(d *runtime.Deployment) { d.Request.Secrets = []string{"none"} },
	} {
		d := s.deployment("x", 1)
		ask(&d)
		if err := s.rt.Create(t.Context(), d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, want ErrInvalid that says so", what, err)
		}
	}
	if f := s.rt.Snapshot().Functions[s.id("x")]; f != nil {
		t.Errorf("a refused function is there: %s", describe(f))
	}
	if err := s.rt.Scale(t.Context(), s.id("x"), -1); err == nil {
		t.Error("Scale to -1 is no error")
	}
	if err := s.rt.Create(t.Context(), s.deployment("x", -1)); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("Create with -1 replicas: %v, want ErrInvalid", err)
	}
}

func (s *suite) verbatim(t *testing.T) {
	d := s.deployment("verbatim", 0, "a", "b=c\n \"d\"", "empty", "")
	d.Request.EnvProcess = "python3 index.py"
	d.Request.Constraints = []string{"node.platform.os == linux", "node.hostname!=nowhere"}
	d.Request.Labels = &map[string]string{"l": "1", "com.openfaas.scale.min": "0"}
	d.Request.Annotations = &map[string]string{"com.openfaas.gpu.model": "m"}
	d.Request.Limits = &types.FunctionResources{Memory: "1.5Gi", CPU: "1500m"}
	d.Request.Requests = &types.FunctionResources{Memory: "5Mi"}
	d.Limits = runtime.Resources{MemoryBytes: 3 << 29, MilliCPU: 1500}
	want, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	s.create(t, d)
	check := func(when string) {
		t.Helper()
		got, err := json.Marshal(s.rt.Snapshot().Functions[d.ID].Deployment)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: got %s, %v\nwant %s", when, got, err, want)
		}
	}
	check("after Create")
	s.reopen(t)
	check("after a restart")
	d.Request.Constraints = nil
	d.Request.EnvVars = map[string]string{"new": "1"}
	if want, err = json.Marshal(d); err != nil {
		t.Fatal(err)
	}
	if err := s.rt.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	check("after Update")
}

func (s *suite) snapshots(t *testing.T) {
	d := s.deployment("snapshots", 1, "a", "1")
	s.create(t, d)
	s.ready(t, "snapshots", 1)
	old := s.rt.Snapshot()
	text := func(snapshot *runtime.Snapshot) string {
		f := snapshot.Functions[d.ID]
		b, err := json.Marshal(f.Deployment)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + describe(f)
	}
	before := text(old)
	select {
	case <-s.rt.Changed(&runtime.Snapshot{}):
	default:
		t.Error("Changed of a snapshot that is not the present one is open")
	}
	d.Request.EnvVars["a"] = "2" // what was deployed belongs to the runtime
	(*d.Request.Labels)["new"] = "label"
	if after := text(s.rt.Snapshot()); after != before {
		t.Errorf("the caller's change came through: %s", after)
	}
	if err := s.rt.Scale(t.Context(), d.ID, 2); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.rt.Changed(old):
	case <-time.After(patience):
		t.Fatal("Changed stays open after a change")
	}
	s.ready(t, "snapshots", 2)
	if after := text(old); after != before {
		t.Errorf("an old snapshot changed from %s to %s", before, after)
	}
	if s.rt.Snapshot().Generation <= old.Generation {
		t.Error("the generation has not grown")
	}
}

func (s *suite) scale(t *testing.T) {
	s.create(t, s.deployment("scale", 1))
	oldest := s.ready(t, "scale", 1).Replicas[0]
	scale := func(n int) *runtime.Function {
		t.Helper()
		if err := s.rt.Scale(t.Context(), s.id("scale"), n); err != nil {
			t.Fatal(err)
		}
		if got := s.rt.Snapshot().Functions[s.id("scale")].Desired; got != n {
			t.Errorf("desired %d right after Scale to %d", got, n)
		}
		return s.ready(t, "scale", n)
	}
	lives := map[string]bool{}
	for _, r := range scale(3).Replicas {
		lives[s.get(t, r, "/life")] = true
	}
	if len(lives) != 3 {
		t.Errorf("3 replicas are %d processes", len(lives))
	}
	if left := scale(1).Replicas[0]; left.ID != oldest.ID {
		t.Errorf("%s is left, not the oldest, %s", left.ID, oldest.ID)
	}
	if f := scale(0); f.Problem != "" {
		t.Errorf("scaled to zero with the problem %q", f.Problem)
	}
	s.gone(t, oldest)
	if r := scale(1).Replicas[0]; r.ID == oldest.ID {
		t.Error("a replica has the ID of one that is gone")
	}
}

func (s *suite) environment(t *testing.T) {
	d := s.deployment("environment", 1, "mine", "a=b c", "both", "request", "port", "1", "TMPDIR", "/elsewhere", "bind", "1.2.3.4")
	d.Request.EnvProcess = "python3 index.py"
	d.Environment = map[string]string{"both": "platform", "theirs": "1"}
	s.create(t, d)
	r := s.ready(t, "environment", 1).Replicas[0]
	var list []string
	if err := json.Unmarshal([]byte(s.get(t, r, "/environment")), &list); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, variable := range list {
		name, value, _ := strings.Cut(variable, "=")
		got[name] = value
	}
	for name, want := range map[string]string{
		"mine": "a=b c", "both": "request", "theirs": "1", "fprocess": "python3 index.py",
		"OPENFAAS_NAME": "environment", "OPENFAAS_NAMESPACE": s.ns, ReplicaVariable: "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["port"] == "1" || got["TMPDIR"] == "/elsewhere" {
		t.Errorf("port %q and TMPDIR %q: a deployment can set them", got["port"], got["TMPDIR"])
	}
}

func (s *suite) oldWatchdog(t *testing.T) {
	s.create(t, s.deployment("old", 1, variableReady, "health"))
	s.ready(t, "old", 1)
}

func (s *suite) info(t *testing.T) {
	if i := s.rt.Info(); i.Orchestration == "" || i.Version == "" {
		t.Errorf("info %+v", i)
	}
}
