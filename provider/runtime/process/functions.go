package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// namespace is the only one: processes share everything that namespaces would
// keep apart.
const namespace = "openfaas-fn"

// maxReplicas of a function: more processes on one machine are a mistake.
const maxReplicas = 100

func checkReplicas(n int) error {
	if n < 0 || n > maxReplicas {
		return fmt.Errorf("%w: %d replicas; 0 to %d are possible", runtime.ErrInvalid, n, maxReplicas)
	}
	return nil
}

var functionName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkNamespace(ns string) error {
	if ns != namespace {
		return fmt.Errorf("there is no namespace %q; the process runtime has only %s", ns, namespace)
	}
	return nil
}

func checkID(id runtime.ID) error {
	if err := checkNamespace(id.Namespace); err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrInvalid, err)
	}
	if !functionName.MatchString(id.Name) {
		return fmt.Errorf("%w: the name %q; a function's name has up to 63 characters of a-z, 0-9 and hyphen, the first and last no hyphen", runtime.ErrInvalid, id.Name)
	}
	return nil
}

// ListNamespaces: see runtime.Namespaces.
func (r *Runtime) ListNamespaces(context.Context) ([]string, error) {
	return []string{namespace}, nil
}

// Create: see runtime.Functions.
func (r *Runtime) Create(ctx context.Context, d runtime.Deployment) error {
	if err := errors.Join(checkID(d.ID), checkReplicas(d.Replicas)); err != nil {
		return err
	}
	if r.function(d.ID) != nil {
		return fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
	}
	w, err := r.prepare(d)
	if err != nil {
		return err
	}
	w.record.UID = uuid.NewString()
	w.record.Revision = 1
	w.record.CreatedAt = time.Now()
	w.record.Desired = d.Replicas
	err = r.inTurn(ctx, func() error {
		if r.function(d.ID) != nil {
			return fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
		}
		if err := r.journal.saveFunction(w.record); err != nil {
			return err
		}
		f := newFunction(r, d.ID, w.record.UID, w)
		r.mu.Lock()
		r.functions[d.ID] = f
		r.mu.Unlock()
		r.board.add(f.public())
		r.actors.Go(func() { f.run(r.ctx) })
		return nil
	})
	if err != nil {
		w.release()
	}
	return err
}

// Update: see runtime.Functions.
func (r *Runtime) Update(ctx context.Context, d runtime.Deployment) error {
	if r.function(d.ID) == nil {
		return fmt.Errorf("function %s: %w", d.ID, runtime.ErrNotFound)
	}
	w, err := r.prepare(d)
	if err != nil {
		return err
	}
	err = r.edit(ctx, d.ID, func(record *functionRecord) {
		record.Revision++
		record.Deployment, record.Image = w.record.Deployment, w.record.Image
	}, w.release)
	if err != nil {
		w.release()
	}
	return err
}

// Scale: see runtime.Functions.
func (r *Runtime) Scale(ctx context.Context, id runtime.ID, replicas int) error {
	if err := checkReplicas(replicas); err != nil {
		return err
	}
	return r.edit(ctx, id, func(record *functionRecord) { record.Desired = replicas }, nil)
}

// Delete: see runtime.Functions.
func (r *Runtime) Delete(ctx context.Context, id runtime.ID) error {
	return r.inTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		if err := r.journal.removeFunction(f.uid); err != nil {
			return err
		}
		r.mu.Lock()
		delete(r.functions, id)
		r.mu.Unlock()
		r.board.remove(id)
		f.set(&want{deleted: true, release: f.want.Load().release})
		return nil
	})
}

// prepare checks a deployment and unpacks its image, which the result holds.
func (r *Runtime) prepare(d runtime.Deployment) (*want, error) {
	if err := r.checkSecrets(&d); err != nil {
		return nil, err
	}
	img, err := r.config.Images.Resolve(d.Request.Image)
	if err != nil {
		return nil, asInvalid(err)
	}
	root, release, err := r.roots.Hold(img.Digest)
	if err != nil {
		return nil, asInvalid(err)
	}
	_, err = commandOf(root, img.Config, r.path)
	var record *functionRecord
	if err == nil {
		// The caller may change what the deployment points to.
		record, err = clone(&functionRecord{Deployment: d, Image: img})
	}
	if err != nil {
		release()
		return nil, err
	}
	return &want{record: record, release: release}, nil
}

func asInvalid(err error) error {
	if errors.Is(err, image.ErrNotFound) || errors.Is(err, image.ErrBad) {
		return fmt.Errorf("%w: %w", runtime.ErrInvalid, err)
	}
	return err
}

// edit changes a function's record. With release, which frees the image of the
// new record, that of the old one is freed.
func (r *Runtime) edit(ctx context.Context, id runtime.ID, change func(*functionRecord), release func()) error {
	return r.inTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		old := f.want.Load()
		record := *old.record
		change(&record)
		if err := r.journal.saveFunction(&record); err != nil {
			return err
		}
		next := &want{record: &record, release: old.release}
		if release != nil {
			next.release = release
		}
		// Shown before it is acted upon: see runtime.TokenSource.
		r.board.change(id, f.uid, func(shown *runtime.Function) {
			shown.Deployment, shown.Desired = record.Deployment, record.Desired
			shown.Revisions = revisions(revisionName(f.uid, record.Revision), shown.Revisions)
		})
		f.set(next)
		if release != nil {
			old.release()
		}
		return nil
	})
}

func (r *Runtime) function(id runtime.ID) *function {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.functions[id]
}

// inTurn runs one change of a function at a time. Only changes wait for it.
func (r *Runtime) inTurn(ctx context.Context, change func() error) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
	}
	if r.ctx.Err() != nil || r.stopped.Load() {
		return errors.New("the process runtime is closed")
	}
	return change()
}

func clone[T any](v *T) (*T, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var c T
	return &c, json.Unmarshal(data, &c)
}
