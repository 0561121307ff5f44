package runtimetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func (s *suite) secrets(t *testing.T) {
	ctx := t.Context()
	if err := s.rt.UpdateSecret(ctx, s.ns, "key", nil); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Update of an unknown secret: %v, want ErrNotFound", err)
	}
	if err := s.rt.DeleteSecret(ctx, s.ns, "key"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Delete of an unknown secret: %v, want ErrNotFound", err)
	}
	if err := s.rt.CreateSecret(ctx, s.ns, "key", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := s.rt.CreateSecret(ctx, s.ns, "key", []byte("2")); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("the second Create: %v, want ErrExists", err)
	}
	if err := s.rt.CreateSecret(ctx, s.ns, "a.b_c-d", nil); err != nil {
		t.Errorf("an empty secret: %v", err)
	}
	if names, err := s.rt.ListSecrets(ctx, s.ns); err != nil || !slices.Equal(names, []string{"a.b_c-d", "key"}) {
		t.Errorf("secrets %q, %v", names, err)
	}
	for _, name := range []string{"key", "a.b_c-d"} {
		if err := s.rt.DeleteSecret(ctx, s.ns, name); err != nil {
			t.Error(err)
		}
	}
	if names, err := s.rt.ListSecrets(ctx, s.ns); err != nil || len(names) != 0 {
		t.Errorf("secrets %q, %v; want none", names, err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "A", ".hidden", "a\x00", runtime.TokenFile, strings.Repeat("a", 254)} {
		if err := s.rt.CreateSecret(ctx, s.ns, name, nil); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("Create of %q: %v, want ErrInvalid", name, err)
		}
	}
	if err := s.rt.CreateSecret(ctx, s.ns, "large", make([]byte, 1<<20+1)); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("more than 1 MiB: %v, want ErrInvalid", err)
	}
	if _, err := s.rt.ListSecrets(ctx, "../"+s.ns); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("an unknown namespace: %v, want ErrNotFound", err)
	}
}

func (s *suite) secretsOfFunctions(t *testing.T) {
	ctx := t.Context()
	d := s.deployment("secretive", 1)
	d.Request.Secrets = []string{"mine"}
	if err := s.rt.Create(ctx, d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "mine") {
		t.Errorf("a secret that is not there: %v, want ErrInvalid that names it", err)
	}
	for _, name := range []string{"mine", "other"} {
		if err := s.rt.CreateSecret(ctx, s.ns, name, []byte("first")); err != nil {
			t.Fatal(err)
		}
		defer s.rt.DeleteSecret(ctx, s.ns, name)
	}
	s.create(t, d)
	r := s.ready(t, "secretive", 1).Replicas[0]
	if got := s.get(t, r, "/secret/mine"); got != "-rw------- first" {
		t.Errorf("the secret is %q", got)
	}
	if got, err := s.ask("GET", r, "/secret/other"); err == nil {
		t.Errorf("a secret that the deployment does not name: %q", got)
	}
	if err := s.rt.UpdateSecret(ctx, s.ns, "mine", []byte("second")); err != nil {
		t.Fatal(err)
	}
	if got := s.get(t, r, "/secret/mine"); got != "-rw------- first" {
		t.Errorf("the secret changed under a running replica: %q", got)
	}
	// An update, even to the same deployment, gives the new value.
	if err := s.rt.Update(ctx, d); err != nil {
		t.Fatal(err)
	}
	f := s.wait(t, "secretive", "updated", func(f *runtime.Function) bool {
		return len(f.Replicas) == 1 && f.Replicas[0].ID != r.ID && f.Replicas[0].Ready
	})
	if got := s.get(t, f.Replicas[0], "/secret/mine"); got != "-rw------- second" {
		t.Errorf("after an update the secret is %q", got)
	}
}

func (s *suite) token(t *testing.T) {
	d := s.deployment("token", 1)
	s.create(t, d)
	f := s.ready(t, "token", 1)
	s.wantToken(t, f)
	if err := s.rt.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	first := f.Revisions[0]
	f = s.wait(t, "token", "the former revision gone", func(f *runtime.Function) bool {
		return f.Revisions[0] != first && len(f.Revisions) == 1 && len(f.Replicas) == 1 && f.Replicas[0].Ready
	})
	s.wantToken(t, f)
}

// wantToken reads the token of a function's one replica.
func (s *suite) wantToken(t *testing.T, f *runtime.Function) {
	t.Helper()
	want, err := Token(f.Deployment.ID, f.Revisions[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := s.get(t, f.Replicas[0], "/secret/"+runtime.TokenFile); got != "-rw------- "+string(want.Value) {
		t.Errorf("the token file has %q", got)
	}
}
