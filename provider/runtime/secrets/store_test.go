package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, func(ns string) error {
		if ns != "ns" {
			return errors.New("no namespace " + ns)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Create("ns", "key", []byte("1")); err != nil {
		t.Fatal(err)
	}
	// A write that was cut short leaves no secret, and is removed.
	if err := os.WriteFile(filepath.Join(dir, "ns", newPrefix+"7"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, open(t, dir)} {
		if names, err := s.List("ns"); err != nil || !slices.Equal(names, []string{"key"}) {
			t.Errorf("List: %q, %v", names, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "ns")); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	for _, c := range []struct {
		name      string
		err, want error
	}{
		{"Create again", s.Create("ns", "key", nil), runtime.ErrExists},
		{"Create nowhere", s.Create("other", "key", nil), runtime.ErrNotFound},
		{"Create large", s.Create("ns", "large", make([]byte, maxValue+1)), runtime.ErrInvalid},
		{"Create token", s.Create("ns", runtime.TokenFile, nil), runtime.ErrInvalid},
		{"Update of an unknown", s.Update("ns", "none", nil), runtime.ErrNotFound},
		{"Delete of an unknown", s.Delete("ns", "none"), runtime.ErrNotFound},
		{"Update", s.Update("ns", "key", []byte("2")), nil},
		{"Delete", s.Delete("ns", "key"), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
}

func TestDeliver(t *testing.T) {
	s, dir := open(t, t.TempDir()), t.TempDir()
	d := &runtime.Deployment{ID: runtime.ID{Namespace: "ns", Name: "f"}, Request: types.FunctionDeployment{Secrets: []string{"a", "b"}}}
	if err := s.Create("ns", "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "secret b") {
		t.Errorf("Check: %v, want ErrInvalid that names b", err)
	}
	if err := s.Deliver(d, dir, Reader{UID: -1, Mode: 0o600}); err == nil || !strings.Contains(err.Error(), "secret b") {
		t.Errorf("Deliver: %v, want an error that names b", err)
	}
	if err := s.Create("ns", "b", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(d); err != nil {
		t.Error(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o444} {
		reader := Reader{UID: os.Getuid(), Mode: mode}
		if err := errors.Join(s.Deliver(d, dir, reader), DeliverToken(dir, []byte("t"), reader)); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"a": "1", "b": "", runtime.TokenFile: "t"} {
			got, err := os.ReadFile(filepath.Join(dir, name))
			info, statErr := os.Stat(filepath.Join(dir, name))
			if err != nil || statErr != nil || string(got) != want || info.Mode() != mode {
				t.Errorf("%s: %q, %v, %v, %v; want %q of mode %v", name, got, err, info, statErr, want, mode)
			}
		}
	}
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"key", "..", "a/b", "a\x00", "a..b", newPrefix + "1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name) == nil && (filepath.Join("/secrets", name) != "/secrets/"+name || strings.HasPrefix(name, newPrefix)) {
			t.Errorf("%q leads elsewhere", name)
		}
	})
}
