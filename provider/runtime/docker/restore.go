package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
	"github.com/faas-gpu/faas-gpu/provider/runtime/secrets"
)

// restore takes up every function that there is a record of, and those that were
// deleted while containers of them are still there.
func (r *Runtime) restore(ctx context.Context) error {
	list, err := r.records.load(ctx, func(name string, err error) {
		r.config.Log.Error("a function is lost: its record cannot be read", "volume", name, "err", err)
	})
	if err != nil {
		return fmt.Errorf("read the functions: %w", err)
	}
	containers, err := r.daemon.Containers(ctx, r.config.Name)
	if err != nil {
		return fmt.Errorf("list the containers: %w", err)
	}
	slices.SortFunc(containers, func(a, b container) int { return cmp.Compare(a.Labels[labelStarted], b.Labels[labelStarted]) })
	r.removeFolders(containers)
	functions := map[string]*function{}
	for _, rec := range list {
		if err := r.namespaces.Adopt(rec.Deployment.ID.Namespace); err != nil {
			return err
		}
		functions[rec.UID] = r.newFunction(rec.Deployment.ID, rec.UID, rec)
	}
	for _, c := range containers {
		uid := c.Labels[labelUID]
		if functions[uid] == nil {
			id := runtime.ID{Namespace: c.Labels[labelNamespace], Name: c.Labels[labelFunction]}
			functions[uid] = r.newFunction(id, uid, nil)
		}
		r.adopt(ctx, functions[uid], c)
	}
	for _, f := range functions {
		r.set.Add(f.actor)
	}
	return nil
}

// adopt takes up a container that runs, keeps the log of one that has ended, and
// removes one that was never started. One that cannot be removed keeps nobody from
// being served.
func (r *Runtime) adopt(ctx context.Context, f *function, c container) {
	rep, err := r.replicaOf(c)
	switch {
	case err != nil:
		r.config.Log.Error("a container is removed: its labels cannot be read", "container", c.Name, "err", err)
		r.leftover(c.Name, r.daemon.Remove(ctx, c.ID))
		return
	case c.State == "created":
		r.leftover(c.Name, errors.Join(r.daemon.Remove(ctx, c.ID), os.RemoveAll(rep.dir)))
		return
	case !c.alive():
		f.bury(ctx, rep.source())
		r.leftover(c.Name, os.RemoveAll(rep.dir))
		return
	}
	if f.record != nil && rep.info.Revision == f.record.Revision {
		f.image, f.imageOf = c.Image, rep.info.Revision
	}
	r.remember(rep)
	r.gpus.keep(rep.gpu)
	f.actor.Adopt(rep)
}

// leftover says that something of an earlier run could not be removed. The next start
// tries again.
func (r *Runtime) leftover(container string, err error) {
	if err != nil {
		r.config.Log.Error("remove what is left of a replica", "container", container, "err", err)
	}
}

// instance is the replica that a container is, whatever somebody has renamed it to.
func instance(c container) string { return cmp.Or(c.Labels[labelReplica], c.Name) }

// replicaOf reads a container's labels.
func (r *Runtime) replicaOf(c container) (*replica, error) {
	revision, err := strconv.Atoi(c.Labels[labelRevision])
	started, startedErr := time.Parse(time.RFC3339Nano, c.Labels[labelStarted])
	stop, stopErr := time.ParseDuration(c.Labels[labelStopTimeout])
	reader, readerErr := parseReader(c.Labels[labelReader])
	if err := errors.Join(err, startedErr, stopErr, readerErr); err != nil {
		return nil, err
	}
	rep := r.newReplica(reconcile.Info{ID: instance(c), Revision: revision, URL: urlOf(c.IP), Started: started, StopTimeout: stop})
	rep.id, rep.gpu, rep.reader = c.ID, c.Labels[labelGPU], reader
	return rep, nil
}

func parseReader(label string) (secrets.Reader, error) {
	uidText, modeText, _ := strings.Cut(label, ":")
	uid, err := strconv.Atoi(uidText)
	mode, modeErr := strconv.ParseUint(modeText, 8, 9)
	return secrets.Reader{UID: uid, Mode: fs.FileMode(mode)}, errors.Join(err, modeErr)
}

// removeFolders removes what replicas left whose containers are gone.
func (r *Runtime) removeFolders(containers []container) {
	entries, err := os.ReadDir(r.replicaDir(""))
	r.leftover("", err)
	for _, e := range entries {
		if slices.ContainsFunc(containers, func(c container) bool { return instance(c) == e.Name() }) {
			continue
		}
		r.leftover(e.Name(), os.RemoveAll(r.replicaDir(e.Name())))
	}
}
