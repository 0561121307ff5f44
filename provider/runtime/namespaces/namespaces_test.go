package namespaces

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// functions are the names of those in namespace "full".
type functions []string

func (functions) InTurn(_ context.Context, change func() error) error { return change() }

func (f functions) In(namespace string) []string {
	if namespace == "full" {
		return f
	}
	return nil
}

func open(t *testing.T, dir string) *Namespaces {
	t.Helper()
	n, err := Open(dir, functions{"a", "b"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func names(t *testing.T, n *Namespaces) string {
	t.Helper()
	all, err := n.ListNamespaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, ns := range all {
		text = append(text, ns.Name)
	}
	return strings.Join(text, " ")
}

func TestRestart(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	n := open(t, dir)
	labels := map[string]string{"a": "b"}
	err := errors.Join(
		n.CreateNamespace(ctx, runtime.Namespace{Name: "z"}),
		n.CreateNamespace(ctx, runtime.Namespace{Name: "a", Labels: labels}),
		n.UpdateNamespace(ctx, runtime.Namespace{Name: runtime.DefaultNamespace, Labels: labels}),
		n.CreateSecret(ctx, "z", "key", nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	labels["a"] = "changed by the caller"
	// What a write that was cut short left, records that cannot be read, and what is
	// no record.
	for name, text := range map[string]string{newPrefix + "1": "{", "broken.json": "{", "moved.json": `{"Name":"z"}`, "UP.json": `{"Name":"UP"}`, "readme": ""} {
		if err := os.WriteFile(filepath.Join(dir, "namespaces", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		n = open(t, dir)
		if got := names(t, n); got != "openfaas-fn a z" {
			t.Errorf("after a restart there are %q", got)
		}
		all, err := n.ListNamespaces(ctx)
		if err != nil || all[0].Labels["a"] != "b" || all[1].Labels["a"] != "b" {
			t.Errorf("labels %v and %v, %v", all[0].Labels, all[1].Labels, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "namespaces", "broken.json.bad")); err != nil {
		t.Error("a record that cannot be read was not kept aside:", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "namespaces", newPrefix+"1")); err == nil {
		t.Error("what a write left is still there")
	}
}

func TestDelete(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	n := open(t, dir)
	for _, name := range []string{"full", "empty"} {
		if err := errors.Join(n.CreateNamespace(ctx, runtime.Namespace{Name: name}), n.CreateSecret(ctx, name, "key", []byte("value"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.DeleteNamespace(ctx, "full"); !errors.Is(err, runtime.ErrInUse) || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("Delete of one with functions: %v, want ErrInUse that names them", err)
	}
	if err := n.DeleteNamespace(ctx, "empty"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secrets", "empty")); err == nil {
		t.Error("the secrets of a namespace that was deleted are still there")
	}
	if list, err := n.ListSecrets(ctx, "full"); err != nil || len(list) != 1 {
		t.Errorf("the other namespace has the secrets %q, %v", list, err)
	}
}

// TestAdopt is what keeps a function of a namespace whose record was lost.
func TestAdopt(t *testing.T) {
	n := open(t, t.TempDir())
	d := &runtime.Deployment{ID: runtime.ID{Namespace: "lost", Name: "f"}, Request: types.FunctionDeployment{Secrets: []string{"key"}}}
	if err := n.Check(d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), `"lost"; there is openfaas-fn`) {
		t.Errorf("an unknown namespace: %v, want ErrInvalid that says which there are", err)
	}
	for range 2 {
		if err := n.Adopt("lost"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, n); got != "openfaas-fn lost" {
		t.Errorf("there are %q", got)
	}
	if err := n.Check(d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "secret key") {
		t.Errorf("without its secret: %v, want ErrInvalid that names it", err)
	}
	if err := n.CreateSecret(t.Context(), "lost", "key", nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(d); err != nil {
		t.Error(err)
	}
	if err := n.Adopt("../lost"); err == nil {
		t.Error("a folder elsewhere was adopted")
	}
}
