package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
	"github.com/faas-gpu/faas-gpu/provider/runtime/secrets"
)

// replica is one container with all that belongs to it.
type replica struct {
	rt     *Runtime
	info   reconcile.Info
	id     string // of the container
	dir    string // of its secrets
	reader secrets.Reader
	gpu    string
	meter  meter

	once sync.Once
	died chan struct{} // closed when the container is known to have ended
}

// launch starts a container. If it fails nothing is left of it.
func (f *function) launch(rec *record, token []byte) (_ reconcile.Replica, err error) {
	ctx, cancel := f.rt.call()
	defer cancel()
	image, err := f.findImage(ctx, rec)
	if err != nil {
		return nil, err
	}
	d := &rec.Deployment
	name := fmt.Sprintf("%s.%s.%d-%08x", d.ID.Name, d.ID.Namespace, rec.Revision, rand.Uint32())
	rep := f.rt.newReplica(reconcile.Info{ID: name, Revision: rec.Revision, Started: time.Now().Round(0), StopTimeout: d.StopTimeout})
	rep.reader = f.rt.node.readerOf(image.User)
	if dedicated(*d) {
		if rep.gpu, err = f.rt.gpus.take(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.discard(rep))
		}
	}()
	if err := f.furnish(rep, d, token); err != nil {
		return nil, err
	}
	spec := f.rt.spec(rec, rep)
	spec.Image = image.ID
	// docker system prune removes it when no container runs.
	if err := f.rt.daemon.EnsureNetwork(ctx, spec.Network); err != nil {
		return nil, fmt.Errorf("make the network %s: %w", spec.Network, err)
	}
	rep.id, err = f.rt.daemon.Create(ctx, name, spec)
	if err != nil {
		return nil, err
	}
	f.rt.remember(rep) // before it can die
	if err := f.rt.daemon.Start(ctx, rep.id); err != nil {
		return nil, err
	}
	c, err := f.rt.daemon.Inspect(ctx, rep.id)
	if err != nil {
		return nil, err
	}
	if c.IP == "" && c.alive() {
		return nil, fmt.Errorf("its container has no address in the network %s", spec.Network)
	}
	rep.info.URL = urlOf(c.IP)
	return rep, nil
}

func (r *Runtime) newReplica(info reconcile.Info) *replica {
	rep := &replica{rt: r, info: info, dir: r.replicaDir(info.ID), died: make(chan struct{})}
	rep.info.Usage = rep.meter.read
	return rep
}

// furnish makes the folder of a replica's secrets.
func (f *function) furnish(rep *replica, d *runtime.Deployment, token []byte) error {
	// Its parent is closed to all others of this machine.
	if err := errors.Join(os.Mkdir(rep.dir, 0o755), os.Chmod(rep.dir, 0o755)); err != nil {
		return err
	}
	if err := f.rt.namespaces.Deliver(d, rep.dir, rep.reader); err != nil {
		return err
	}
	if token == nil {
		return nil
	}
	return rep.DeliverToken(token)
}

// discard undoes a launch that failed, also when the runtime is being closed.
func (f *function) discard(rep *replica) error {
	f.rt.forget(rep)
	f.rt.gpus.give(rep.gpu)
	err := os.RemoveAll(rep.dir)
	if rep.id == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.rt.set.Context()), callTimeout)
	defer cancel()
	return errors.Join(err, f.rt.daemon.Remove(ctx, rep.id))
}

// readerOf is how files are made readable for the user of an image. Who a name stands
// for is written in the image, and who a remapped user is on this machine, the daemon
// does not tell; then everybody in the container may read them.
func (n node) readerOf(user string) secrets.Reader {
	if n.RemapsUsers {
		return secrets.Reader{UID: 0, Mode: 0o444}
	}
	name, _, _ := strings.Cut(user, ":")
	if name == "" || name == "root" {
		return secrets.Reader{UID: 0, Mode: 0o600}
	}
	if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return secrets.Reader{UID: int(uid), Mode: 0o600}
	}
	return secrets.Reader{UID: 0, Mode: 0o444}
}

// urlOf is where a watchdog listens, and "" for a container that has no address, such
// as one that has ended: without a host it would be this machine.
func urlOf(ip string) string {
	if ip == "" {
		return ""
	}
	return "http://" + net.JoinHostPort(ip, strconv.Itoa(watchdogPort))
}

func (rep *replica) Info() reconcile.Info { return rep.info }

func (rep *replica) Terminate() error { return rep.signal("SIGTERM") }

func (rep *replica) Kill() error { return rep.signal("SIGKILL") }

func (rep *replica) signal(name string) error {
	ctx, cancel := rep.rt.call()
	defer cancel()
	return rep.rt.daemon.Signal(ctx, rep.id, name)
}

func (rep *replica) DeliverToken(value []byte) error {
	return secrets.DeliverToken(rep.dir, value, rep.reader)
}

// hasDied notes that the container has ended.
func (rep *replica) hasDied() { rep.once.Do(func() { close(rep.died) }) }

// Wait: see reconcile.Replica.
func (rep *replica) Wait(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-rep.died:
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := rep.rt.daemon.Inspect(ctx, rep.id)
	switch {
	case errors.Is(err, errNotThere):
		return "was removed", nil
	case err != nil:
		return "ended in a way that the daemon does not tell", nil
	case c.OOM:
		return "was ended for using more memory than its limit", nil
	case c.ExitCode == 128+9:
		return "was killed", nil
	}
	return "exited with status " + strconv.Itoa(c.ExitCode), nil
}

func (rep *replica) source() source {
	return source{id: rep.id, instance: rep.info.ID, started: rep.info.Started}
}

// secretsDir is where a container sees secrets, and socketDir the cache manager's
// sockets.
const (
	secretsDir = "/var/openfaas/secrets"
	socketDir  = "/run/faas-gpu"
)

// spec of a replica's container.
func (r *Runtime) spec(rec *record, rep *replica) containerSpec {
	d := &rec.Deployment
	s := containerSpec{
		Env:         environment(d, filepath.Base(r.config.CachemgrSocket)),
		Network:     r.config.Name,
		ReadOnly:    d.Request.ReadOnlyRootFilesystem,
		MemoryBytes: memoryLimit(d.Limits),
		NanoCPUs:    r.node.cpuLimit(d.Limits),
		StopTimeout: d.StopTimeout,
		GPU:         r.gpuRequest(rep.gpu),
		Mounts:      []bind{{From: rep.dir, To: secretsDir}},
		Labels: map[string]string{
			labelInstallation: r.config.Name, labelUID: rec.UID, labelReplica: rep.info.ID,
			labelFunction: d.ID.Name, labelNamespace: d.ID.Namespace,
			labelRevision: strconv.Itoa(rec.Revision), labelGPU: rep.gpu,
			labelStarted:     rep.info.Started.UTC().Format(time.RFC3339Nano),
			labelStopTimeout: d.StopTimeout.String(),
			labelReader:      fmt.Sprintf("%d:%o", rep.reader.UID, rep.reader.Mode),
		},
	}
	// One with a GPU of its own has a cache manager of its own.
	if !dedicated(*d) {
		s.Mounts = append(s.Mounts, bind{From: filepath.Dir(r.config.CachemgrSocket), To: socketDir})
	}
	return s
}
