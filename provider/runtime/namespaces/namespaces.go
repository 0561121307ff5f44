// Package namespaces keeps the namespaces of a runtime that has them in a folder,
// and the secrets in them. It is that part of runtime.Runtime.
package namespaces

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/secrets"
)

// Functions are those of the runtime.
type Functions interface {
	// InTurn runs one change at a time.
	InTurn(ctx context.Context, change func() error) error
	// In returns the names of a namespace's functions.
	In(namespace string) []string
}

// Namespaces implements runtime.Namespaces and runtime.Secrets. All changes, those
// of secrets too, are made in turn with those of functions: none comes into a
// namespace that is being deleted.
type Namespaces struct {
	functions Functions
	store     *store
	secrets   *secrets.Store
	log       *slog.Logger
}

var (
	_ runtime.Namespaces = (*Namespaces)(nil)
	_ runtime.Secrets    = (*Namespaces)(nil)
)

// Open uses the folders namespaces and secrets in dir, which are made if they are
// not there.
func Open(dir string, functions Functions, log *slog.Logger) (*Namespaces, error) {
	s, err := openStore(filepath.Join(dir, "namespaces"), log)
	if err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	n := &Namespaces{functions: functions, store: s, log: log}
	n.secrets, err = secrets.Open(filepath.Join(dir, "secrets"), s.check)
	return n, err
}

// Adopt makes a namespace that a function lives in, although there is no record of
// it. One that is there stays as it is.
func (n *Namespaces) Adopt(name string) error {
	if n.store.check(name) == nil {
		return nil
	}
	if err := CheckName(name); err != nil {
		return err
	}
	n.log.Warn("a namespace has functions and no record: its labels are lost", "namespace", name)
	return n.store.save(runtime.Namespace{Name: name})
}

// Check is whether a deployment's namespace and its secrets are there. ErrInvalid.
func (n *Namespaces) Check(d *runtime.Deployment) error {
	if err := n.CheckName(d.ID.Namespace); err != nil {
		return err
	}
	return n.secrets.Check(d)
}

// CheckName is whether there is such a namespace. ErrInvalid.
func (n *Namespaces) CheckName(name string) error {
	if err := n.store.check(name); err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrInvalid, err)
	}
	return nil
}

// Deliver copies the secrets that a deployment names to a folder that is there.
func (n *Namespaces) Deliver(d *runtime.Deployment, dir string, reader secrets.Reader) error {
	return n.secrets.Deliver(d, dir, reader)
}

// ListNamespaces and the others: see runtime.Namespaces.
func (n *Namespaces) ListNamespaces(context.Context) ([]runtime.Namespace, error) {
	return n.store.list(), nil
}

func (n *Namespaces) CreateNamespace(ctx context.Context, ns runtime.Namespace) error {
	if err := CheckName(ns.Name); err != nil {
		return err
	}
	return n.functions.InTurn(ctx, func() error {
		if n.store.check(ns.Name) == nil {
			return fmt.Errorf("namespace %s: %w", ns.Name, runtime.ErrExists)
		}
		return n.store.save(ns)
	})
}

func (n *Namespaces) UpdateNamespace(ctx context.Context, ns runtime.Namespace) error {
	return n.functions.InTurn(ctx, func() error {
		if err := n.store.check(ns.Name); err != nil {
			return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
		}
		return n.store.save(ns)
	})
}

func (n *Namespaces) DeleteNamespace(ctx context.Context, name string) error {
	if name == runtime.DefaultNamespace {
		return fmt.Errorf("%w: namespace %s is the default one and cannot be removed", runtime.ErrInvalid, name)
	}
	return n.functions.InTurn(ctx, func() error {
		if err := n.store.check(name); err != nil {
			return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
		}
		if left := n.functions.In(name); len(left) > 0 {
			return fmt.Errorf("namespace %s: %w: remove its functions first: %s", name, runtime.ErrInUse, strings.Join(left, ", "))
		}
		// First, so that no later namespace of this name has them.
		if err := n.secrets.Forget(name); err != nil {
			return err
		}
		return n.store.remove(name)
	})
}

// ListSecrets and the others: see runtime.Secrets.
func (n *Namespaces) ListSecrets(_ context.Context, namespace string) ([]string, error) {
	return n.secrets.List(namespace)
}

func (n *Namespaces) CreateSecret(ctx context.Context, namespace, name string, value []byte) error {
	return n.functions.InTurn(ctx, func() error { return n.secrets.Create(namespace, name, value) })
}

func (n *Namespaces) UpdateSecret(ctx context.Context, namespace, name string, value []byte) error {
	return n.functions.InTurn(ctx, func() error { return n.secrets.Update(namespace, name, value) })
}

func (n *Namespaces) DeleteSecret(ctx context.Context, namespace, name string) error {
	return n.functions.InTurn(ctx, func() error { return n.secrets.Delete(namespace, name) })
}
