package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// Create: see runtime.Functions.
func (r *Runtime) Create(ctx context.Context, d runtime.Deployment) error {
	if err := errors.Join(reconcile.CheckID(d.ID), reconcile.CheckReplicas(d.Replicas)); err != nil {
		return err
	}
	if r.set.Get(d.ID) != nil {
		return fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
	}
	record, release, err := r.prepare(d)
	if err != nil {
		return err
	}
	record.UID = uuid.NewString()
	record.Revision = 1
	record.CreatedAt = time.Now()
	record.Desired = d.Replicas
	err = r.set.InTurn(ctx, func() error {
		if r.set.Get(d.ID) != nil {
			return fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
		}
		if err := r.namespaces.CheckName(d.ID.Namespace); err != nil {
			return err
		}
		if err := r.journal.saveFunction(record); err != nil {
			return err
		}
		r.set.Add(r.newFunction(d.ID, record.UID, record, release).actor)
		return nil
	})
	if err != nil {
		release()
	}
	return err
}

// Update: see runtime.Functions.
func (r *Runtime) Update(ctx context.Context, d runtime.Deployment) error {
	if r.set.Get(d.ID) == nil {
		return fmt.Errorf("function %s: %w", d.ID, runtime.ErrNotFound)
	}
	next, release, err := r.prepare(d)
	if err != nil {
		return err
	}
	err = r.edit(ctx, d.ID, func(record *functionRecord) {
		record.Revision++
		record.Deployment, record.Image = next.Deployment, next.Image
	}, release)
	if err != nil {
		release()
	}
	return err
}

// Scale: see runtime.Functions.
func (r *Runtime) Scale(ctx context.Context, id runtime.ID, replicas int) error {
	if err := reconcile.CheckReplicas(replicas); err != nil {
		return err
	}
	return r.edit(ctx, id, func(record *functionRecord) { record.Desired = replicas }, nil)
}

// Delete: see runtime.Functions.
func (r *Runtime) Delete(ctx context.Context, id runtime.ID) error {
	return r.set.InTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		if err := r.journal.removeFunction(f.record.UID); err != nil {
			return err
		}
		r.set.Remove(f.actor)
		return nil
	})
}

// prepare checks a deployment and unpacks its image, which is held until release.
func (r *Runtime) prepare(d runtime.Deployment) (record *functionRecord, release func(), err error) {
	if err := errors.Join(r.machine.Check(&d.Request), checkShared(d), r.namespaces.Check(&d)); err != nil {
		return nil, nil, err
	}
	img, err := r.config.Images.Resolve(d.Request.Image)
	if err != nil {
		return nil, nil, asInvalid(err)
	}
	root, release, err := r.roots.Hold(img.Digest)
	if err != nil {
		return nil, nil, asInvalid(err)
	}
	if _, err = commandOf(root, img.Config, r.path); err == nil {
		// The caller may change what the deployment points to.
		record, err = clone(&functionRecord{Deployment: d, Image: img})
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return record, release, nil
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
	return r.set.InTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		record := *f.record
		change(&record)
		if err := r.journal.saveFunction(&record); err != nil {
			return err
		}
		f.record = &record
		f.actor.Change(f.want(&record))
		if release != nil {
			former := f.release
			f.release = release
			former()
		}
		return nil
	})
}

func (r *Runtime) function(id runtime.ID) *function {
	actor := r.set.Get(id)
	if actor == nil {
		return nil
	}
	return actor.Keeper().(*function)
}

func clone[T any](v *T) (*T, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var c T
	return &c, json.Unmarshal(data, &c)
}
