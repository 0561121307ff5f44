package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/google/uuid"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// Create: see runtime.Functions.
func (r *Runtime) Create(ctx context.Context, d runtime.Deployment) error {
	if err := errors.Join(reconcile.CheckID(d.ID), reconcile.CheckReplicas(d.Replicas)); err != nil {
		return err
	}
	d, err := r.accept(d)
	if err != nil {
		return err
	}
	return r.set.InTurn(ctx, func() error {
		if r.set.Get(d.ID) != nil {
			return fmt.Errorf("function %s: %w", d.ID, runtime.ErrExists)
		}
		if err := r.namespaces.CheckName(d.ID.Namespace); err != nil {
			return err
		}
		if err := r.roomFor(d, d.Replicas); err != nil {
			return err
		}
		made := &record{
			UID: uuid.NewString(), Serial: 1, Revision: 1, CreatedAt: time.Now().Round(0), Desired: d.Replicas, Deployment: d,
		}
		if err := r.records.save(ctx, made, nil); err != nil {
			cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			return errors.Join(err, r.records.remove(cleaning, made.UID))
		}
		r.set.Add(r.newFunction(d.ID, made.UID, made).actor)
		return nil
	})
}

// Update: see runtime.Functions.
func (r *Runtime) Update(ctx context.Context, d runtime.Deployment) error {
	if r.set.Get(d.ID) == nil {
		return fmt.Errorf("function %s: %w", d.ID, runtime.ErrNotFound)
	}
	d, err := r.accept(d)
	if err != nil {
		return err
	}
	return r.change(ctx, d.ID, func(next *record) error {
		if !dedicated(next.Deployment) {
			if err := r.roomFor(d, next.Desired); err != nil {
				return err
			}
		}
		next.Revision++
		next.Deployment = d
		return nil
	})
}

// Scale: see runtime.Functions.
func (r *Runtime) Scale(ctx context.Context, id runtime.ID, replicas int) error {
	if err := reconcile.CheckReplicas(replicas); err != nil {
		return err
	}
	return r.change(ctx, id, func(next *record) error {
		if err := r.roomFor(next.Deployment, replicas-next.Desired); err != nil {
			return err
		}
		next.Desired = replicas
		return nil
	})
}

// Delete: see runtime.Functions.
func (r *Runtime) Delete(ctx context.Context, id runtime.ID) error {
	return r.set.InTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		if err := r.records.remove(ctx, f.uid); err != nil {
			return fmt.Errorf("forget function %s: %w", id, err)
		}
		r.set.Remove(f.actor)
		return nil
	})
}

// change replaces a function's record by what edit makes of it.
func (r *Runtime) change(ctx context.Context, id runtime.ID, edit func(*record) error) error {
	return r.set.InTurn(ctx, func() error {
		f := r.function(id)
		if f == nil {
			return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
		}
		next := *f.record
		if err := edit(&next); err != nil {
			return err
		}
		f.serial++
		next.Serial = f.serial
		if err := r.records.save(ctx, &next, f.record); err != nil {
			return err
		}
		f.record = &next
		f.actor.Change(f.want(&next))
		return nil
	})
}

// accept checks a deployment and returns a copy of its own.
func (r *Runtime) accept(d runtime.Deployment) (runtime.Deployment, error) {
	if _, err := reference.ParseNormalizedNamed(d.Request.Image); err != nil {
		return d, fmt.Errorf("%w: %q is not the name of an image: %w", runtime.ErrInvalid, d.Request.Image, err)
	}
	if err := errors.Join(r.node.Check(&d.Request), r.namespaces.Check(&d)); err != nil {
		return d, err
	}
	return copied(d)
}

func (r *Runtime) function(id runtime.ID) *function {
	actor := r.set.Get(id)
	if actor == nil {
		return nil
	}
	return actor.Keeper().(*function)
}

// newFunction makes a function of a record, or of none if it was deleted.
func (r *Runtime) newFunction(id runtime.ID, uid string, rec *record) *function {
	f := &function{rt: r, id: id, uid: uid, record: rec}
	f.sources.Store(&[]source{})
	want := &reconcile.Want{Deleted: true}
	if rec != nil {
		f.serial = rec.Serial
		want = f.want(rec)
	}
	f.actor = r.set.NewFunction(id, uid, f, want)
	return f
}
