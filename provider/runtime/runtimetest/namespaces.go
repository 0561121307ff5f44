package runtimetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func (s *suite) namespaces(t *testing.T) {
	ctx := t.Context()
	n := runtime.Namespace{Name: "room", Labels: map[string]string{"openfaas": "1"}, Annotations: map[string]string{"a": "b\n"}}
	for what, err := range map[string]error{
		"Update of an unknown one":  s.rt.UpdateNamespace(ctx, n),
		"Delete of an unknown one":  s.rt.DeleteNamespace(ctx, n.Name),
		"a secret in an unknown":    s.rt.CreateSecret(ctx, n.Name, "key", nil),
		"the secrets of an unknown": second(s.rt.ListSecrets(ctx, n.Name)),
	} {
		if !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a.b", "A", "-a", "a\x00", strings.Repeat("a", 64)} {
		if err := s.rt.CreateNamespace(ctx, runtime.Namespace{Name: name}); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("Create of %q: %v, want ErrInvalid", name, err)
		}
	}
	if err := s.rt.CreateNamespace(ctx, n); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{n.Name, s.ns} {
		if err := s.rt.CreateNamespace(ctx, runtime.Namespace{Name: name}); !errors.Is(err, runtime.ErrExists) {
			t.Errorf("Create of %s once more: %v, want ErrExists", name, err)
		}
	}
	if err := s.rt.CreateNamespace(ctx, runtime.Namespace{Name: "attic"}); err != nil {
		t.Fatal(err)
	}
	s.reopen(t)
	s.wantNamespaces(t, s.ns, "attic", n.Name)
	if got := s.namespace(t, n.Name); !maps.Equal(got.Labels, n.Labels) || !maps.Equal(got.Annotations, n.Annotations) {
		t.Errorf("the namespace is %+v, want %+v", got, n)
	}
	if err := s.rt.UpdateNamespace(ctx, runtime.Namespace{Name: n.Name, Labels: map[string]string{"c": "d"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.namespace(t, n.Name); got.Labels["c"] != "d" || len(got.Labels) != 1 || len(got.Annotations) != 0 {
		t.Errorf("after the update it is %+v", got)
	}
	for _, name := range []string{n.Name, "attic"} {
		if err := s.rt.DeleteNamespace(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if err := s.rt.DeleteNamespace(ctx, s.ns); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("Delete of the default one: %v, want ErrInvalid", err)
	}
	s.reopen(t)
	s.wantNamespaces(t, s.ns)
}

// apart gives two namespaces a function and a secret of the same names.
func (s *suite) apart(t *testing.T) {
	ctx := t.Context()
	if err := s.rt.CreateNamespace(ctx, runtime.Namespace{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	here := s.deployment("same", 1, variableVersion, "here")
	there := s.deployment("same", 1, variableVersion, "there")
	there.ID.Namespace, there.Request.Namespace = "other", "other"
	for _, d := range []runtime.Deployment{here, there} {
		d.Request.Secrets = []string{"key"}
		if err := s.rt.Create(ctx, d); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("without its namespace's secret: %v, want ErrInvalid", err)
		}
		if err := s.rt.CreateSecret(ctx, d.ID.Namespace, "key", []byte(d.ID.Namespace)); err != nil {
			t.Fatal(err)
		}
		if err := s.rt.Create(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rt.DeleteNamespace(ctx, "other"); !errors.Is(err, runtime.ErrInUse) || !strings.Contains(err.Error(), "same") {
		t.Errorf("Delete with a function in it: %v, want ErrInUse that names it", err)
	}
	for _, d := range []runtime.Deployment{here, there} {
		s.wantOwn(t, d)
	}
	s.reopen(t)
	if err := s.rt.Scale(ctx, here.ID, 0); err != nil {
		t.Fatal(err)
	}
	if f := s.rt.Snapshot().Functions[there.ID]; f == nil || f.Desired != 1 {
		t.Errorf("the other namespace's was scaled too: %s", describe(f))
	}
	s.wantOwn(t, there)
	s.remove(t, there.ID)
	if names, err := s.rt.ListSecrets(ctx, s.ns); err != nil || !slices.Contains(names, "key") {
		t.Errorf("the secrets of %s are %q, %v", s.ns, names, err)
	}
	if err := errors.Join(s.rt.Delete(ctx, here.ID), s.rt.DeleteSecret(ctx, s.ns, "key")); err != nil {
		t.Error(err)
	}
}

// wantOwn checks that a function has its own replica, secret, token and logs.
func (s *suite) wantOwn(t *testing.T, d runtime.Deployment) {
	t.Helper()
	f := s.readyID(t, d.ID, 1)
	r := f.Replicas[0]
	version := d.Request.EnvVars[variableVersion]
	if got := s.get(t, r, "/version"); got != version {
		t.Errorf("%s is %q, want %q", d.ID, got, version)
	}
	if got := s.get(t, r, "/secret/key"); got != "-rw------- "+d.ID.Namespace {
		t.Errorf("%s has the secret %q", d.ID, got)
	}
	s.wantToken(t, f)
	s.say(t, d.ID, r, "i-am-"+version)
	for _, text := range s.read(t, logs.Request{Name: d.ID.Name, Namespace: d.ID.Namespace}) {
		if who, says := strings.CutPrefix(text, "i-am-"); says && who != version {
			t.Errorf("the log of %s has %q", d.ID, text)
		}
	}
}

// remove removes a namespace with the one function in it. A new one of its name has
// none of its secrets.
func (s *suite) remove(t *testing.T, id runtime.ID) {
	t.Helper()
	ctx, n := t.Context(), runtime.Namespace{Name: id.Namespace}
	if err := errors.Join(s.rt.Delete(ctx, id), s.rt.DeleteNamespace(ctx, n.Name), s.rt.CreateNamespace(ctx, n)); err != nil {
		t.Fatal(err)
	}
	if names, err := s.rt.ListSecrets(ctx, n.Name); err != nil || len(names) != 0 {
		t.Errorf("a new namespace has the secrets %q of the former, %v", names, err)
	}
	if err := s.rt.DeleteNamespace(ctx, n.Name); err != nil {
		t.Fatal(err)
	}
	s.wantNamespaces(t, s.ns)
}

func (s *suite) wantNamespaces(t *testing.T, want ...string) {
	t.Helper()
	all, err := s.rt.ListNamespaces(t.Context())
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("namespaces %q, %v, want %q", names, err, want)
	}
}

func (s *suite) namespace(t *testing.T, name string) runtime.Namespace {
	t.Helper()
	all, err := s.rt.ListNamespaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("there is no namespace %s", name)
	return runtime.Namespace{}
}

func second[T any](_ T, err error) error { return err }
