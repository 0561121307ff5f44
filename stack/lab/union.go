package lab

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// union is several runtimes as one: every function runs on each of them. It is a
// runtime with several nodes, for labs.
type union struct {
	parts []runtime.Runtime

	mu      sync.Mutex
	seen    []*runtime.Snapshot // of the parts
	present *runtime.Snapshot
	changed chan struct{}
	done    chan struct{}
	running sync.WaitGroup
}

var _ runtime.Runtime = (*union)(nil)

func newUnion(parts []runtime.Runtime) *union {
	u := &union{parts: parts, seen: make([]*runtime.Snapshot, len(parts)), changed: make(chan struct{}), done: make(chan struct{})}
	for i, p := range parts {
		u.seen[i] = p.Snapshot()
	}
	u.present = u.merged()
	for i := range parts {
		u.running.Go(func() { u.follow(i) })
	}
	return u
}

// follow keeps the snapshot up to date with one part.
func (u *union) follow(i int) {
	seen := u.seen[i]
	for {
		select {
		case <-u.parts[i].Changed(seen):
		case <-u.done:
			return
		}
		seen = u.parts[i].Snapshot()
		u.mu.Lock()
		u.seen[i] = seen
		u.present = u.merged()
		close(u.changed)
		u.changed = make(chan struct{})
		u.mu.Unlock()
	}
}

// merged is all parts together; mu is held, or nobody else knows u yet.
func (u *union) merged() *runtime.Snapshot {
	next := &runtime.Snapshot{Functions: make(map[runtime.ID]*runtime.Function)}
	if u.present != nil {
		next.Generation = u.present.Generation + 1
	}
	for _, s := range u.seen {
		for id, f := range s.Functions {
			have := next.Functions[id]
			if have == nil {
				first := *f
				next.Functions[id] = &first
				continue
			}
			have.Desired += f.Desired
			have.Replicas = slices.Concat(have.Replicas, f.Replicas)
			have.Revisions = slices.Concat(have.Revisions, f.Revisions)
			if have.Problem == "" {
				have.Problem = f.Problem
			}
		}
	}
	return next
}

func (u *union) Snapshot() *runtime.Snapshot {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.present
}

func (u *union) Changed(s *runtime.Snapshot) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s == u.present {
		return u.changed
	}
	now := make(chan struct{})
	close(now)
	return now
}

// each calls f for every part.
func (u *union) each(f func(runtime.Runtime) error) error {
	var errs []error
	for _, p := range u.parts {
		errs = append(errs, f(p))
	}
	return errors.Join(errs...)
}

func (u *union) Create(ctx context.Context, d runtime.Deployment) error {
	return u.each(func(p runtime.Runtime) error { return p.Create(ctx, d) })
}

func (u *union) Update(ctx context.Context, d runtime.Deployment) error {
	return u.each(func(p runtime.Runtime) error { return p.Update(ctx, d) })
}

// Scale gives each node its share; the first ones get what is left over.
func (u *union) Scale(ctx context.Context, id runtime.ID, replicas int) error {
	n := len(u.parts)
	for i, p := range u.parts {
		if err := p.Scale(ctx, id, (replicas+n-1-i)/n); err != nil {
			return err
		}
	}
	return nil
}

func (u *union) Delete(ctx context.Context, id runtime.ID) error {
	return u.each(func(p runtime.Runtime) error { return p.Delete(ctx, id) })
}

// Logs are those of one node after the other; they cannot be followed.
func (u *union) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	q.Follow = false
	return u.each(func(p runtime.Runtime) error { return p.Logs(ctx, q, emit) })
}

func (u *union) ListSecrets(ctx context.Context, namespace string) ([]string, error) {
	return u.parts[0].ListSecrets(ctx, namespace)
}

func (u *union) CreateSecret(ctx context.Context, namespace, name string, value []byte) error {
	return u.each(func(p runtime.Runtime) error { return p.CreateSecret(ctx, namespace, name, value) })
}

func (u *union) UpdateSecret(ctx context.Context, namespace, name string, value []byte) error {
	return u.each(func(p runtime.Runtime) error { return p.UpdateSecret(ctx, namespace, name, value) })
}

func (u *union) DeleteSecret(ctx context.Context, namespace, name string) error {
	return u.each(func(p runtime.Runtime) error { return p.DeleteSecret(ctx, namespace, name) })
}

func (u *union) ListNamespaces(ctx context.Context) ([]runtime.Namespace, error) {
	return u.parts[0].ListNamespaces(ctx)
}

func (u *union) CreateNamespace(ctx context.Context, n runtime.Namespace) error {
	return u.each(func(p runtime.Runtime) error { return p.CreateNamespace(ctx, n) })
}

func (u *union) UpdateNamespace(ctx context.Context, n runtime.Namespace) error {
	return u.each(func(p runtime.Runtime) error { return p.UpdateNamespace(ctx, n) })
}

func (u *union) DeleteNamespace(ctx context.Context, name string) error {
	return u.each(func(p runtime.Runtime) error { return p.DeleteNamespace(ctx, name) })
}

// Info is the first part's, with the warnings of all.
func (u *union) Info() runtime.Info {
	info := u.parts[0].Info()
	said := map[string]bool{}
	for _, p := range u.parts {
		for _, w := range p.Info().Warnings {
			said[w] = true
		}
	}
	info.Warnings = slices.Sorted(maps.Keys(said))
	return info
}

// unfollow stops following the parts.
func (u *union) unfollow() error {
	close(u.done)
	u.running.Wait()
	return nil
}

// Close does nothing: whoever started the parts ends them.
func (u *union) Close() error { return nil }
