package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
	"github.com/faas-gpu/faas-gpu/provider/runtime/secrets"
)

// replica is one process with all that belongs to it.
type replica struct {
	rt      *Runtime
	record  replicaRecord
	process *handle
	release func() // of the image
	usage   func() runtime.Usage
}

// Info and the others: see reconcile.Replica.
func (rep *replica) Info() reconcile.Info {
	return reconcile.Info{
		ID: rep.record.ID, Revision: rep.record.Revision, URL: rep.rt.url(rep.record.Port),
		Started: rep.record.Started, StopTimeout: rep.record.StopTimeout, Usage: rep.usage,
	}
}

func (rep *replica) Terminate() error { return rep.signal(syscall.SIGTERM) }

func (rep *replica) Kill() error { return rep.signal(syscall.SIGKILL) }

// signal asks the watchdog, which passes it on after it has drained; its other
// processes end with it (see function.bury).
func (rep *replica) signal(s syscall.Signal) error {
	if err := rep.process.signal(s); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (rep *replica) DeliverToken(value []byte) error {
	return secrets.DeliverToken(filepath.Join(rep.rt.journal.replicaDir(rep.record.ID), "secrets"), value, reader())
}

func (rep *replica) Wait(ctx context.Context) (string, error) {
	defer context.AfterFunc(ctx, func() { rep.process.close() })()
	return rep.process.wait()
}

// reader of a replica's secrets is its process, which runs as this program does.
func reader() secrets.Reader { return secrets.Reader{UID: -1, Mode: 0o600} }

// launch starts a process for a function. If it fails nothing is left of it.
func (r *Runtime) launch(f *functionRecord, token []byte) (_ *replica, err error) {
	root, release, err := r.roots.Hold(f.Image.Digest)
	if err != nil {
		return nil, err
	}
	d := &f.Deployment
	rep := &replica{rt: r, release: release, record: replicaRecord{
		ID: d.ID.Name + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12], UID: f.UID,
		Function: d.ID, Revision: f.Revision, Digest: f.Image.Digest, Boot: r.boot,
		StopTimeout: d.StopTimeout, Started: time.Now(),
	}}
	defer func() {
		if err != nil {
			killMarked(rep.record.ID)
			err = errors.Join(err, r.free(rep), os.RemoveAll(r.journal.replicaDir(rep.record.ID)))
		}
	}()
	cmd, err := commandOf(root, f.Image.Config, r.path)
	if err != nil {
		return nil, err
	}
	if err := r.furnish(rep, d, token); err != nil {
		return nil, err
	}
	pid, fd, err := r.startProcess(rep, f, cmd)
	if err != nil {
		return nil, err
	}
	if rep.process, err = newHandle(pid, fd); err != nil {
		return nil, err
	}
	s, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	rep.record.PID, rep.record.Birth = pid, s.birth
	rep.usage = usage(pid)
	return rep, r.journal.saveReplica(&rep.record)
}

// furnish makes a replica's folder with all that its process will need, and
// writes the replica down.
func (r *Runtime) furnish(rep *replica, d *runtime.Deployment, token []byte) (err error) {
	if rep.record.Port, err = r.ports.take(); err != nil {
		return err
	}
	if rep.record.MetricsPort, err = r.ports.take(); err != nil {
		return err
	}
	dir := r.journal.replicaDir(rep.record.ID)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(filepath.Join(dir, "tmp"), 0o700)); err != nil {
		return err
	}
	if err := r.journal.saveReplica(&rep.record); err != nil {
		return err
	}
	folder := filepath.Join(dir, "secrets")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := r.namespaces.Deliver(d, folder, reader()); err != nil {
		return err
	}
	if token == nil {
		return nil
	}
	return rep.DeliverToken(token)
}

// startProcess starts the process in a session of its own: no signal to this
// program's group or terminal reaches it, and it lives on when this program ends.
func (r *Runtime) startProcess(rep *replica, f *functionRecord, cmd command) (pid, pidfd int, err error) {
	dir := r.journal.replicaDir(rep.record.ID)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, 0, err
	}
	defer null.Close()
	output, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer output.Close()
	attr := &syscall.SysProcAttr{Setsid: true}
	group, err := r.groups.open(rep.record.ID, f.Deployment.Limits)
	if err != nil {
		return 0, 0, err
	}
	if group != nil {
		defer group.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(group.Fd())
	}
	p, err := os.StartProcess(cmd.path, cmd.args, &os.ProcAttr{
		Dir:   cmd.dir,
		Env:   environment(f, r.config.Environment, r.ownVariables(rep, dir)),
		Files: []*os.File{null, output, output},
		Sys:   attr,
	})
	if err != nil {
		return 0, 0, fmt.Errorf("start %s: %w", cmd.args[0], err)
	}
	pid = p.Pid
	// Nobody else has this number before this program has taken note of its end.
	pidfd, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		err = errors.Join(fmt.Errorf("this kernel has no process descriptors; Linux 5.4 has them: %w", err), p.Kill())
		_, waitErr := p.Wait()
		return 0, 0, errors.Join(err, waitErr)
	}
	return pid, pidfd, p.Release()
}

func (r *Runtime) ownVariables(rep *replica, dir string) map[string]string {
	return map[string]string{
		"port":              strconv.Itoa(rep.record.Port),
		"metrics_port":      strconv.Itoa(rep.record.MetricsPort),
		"bind":              r.config.Bind,
		"TMPDIR":            filepath.Join(dir, "tmp"),
		"secret_mount_path": filepath.Join(dir, "secrets"),
		"log_file":          filepath.Join(dir, "log"),
		marker:              rep.record.ID,
	}
}

// free gives back what a replica held while its process ran.
func (r *Runtime) free(rep *replica) error {
	if rep.process != nil {
		rep.process.close()
	}
	r.ports.give(rep.record.Port)
	r.ports.give(rep.record.MetricsPort)
	rep.release()
	return r.groups.remove(rep.record.ID)
}

// readopt takes up a replica that an earlier run of this program started; an
// error if its process has ended since.
func (r *Runtime) readopt(record *replicaRecord) (*replica, error) {
	if record.PID == 0 || record.Boot != r.boot {
		return nil, errors.New("it was never started, or before this start of the machine")
	}
	process, err := adopt(record.PID, record.Birth)
	if err != nil {
		return nil, err
	}
	_, release, err := r.roots.Hold(record.Digest)
	if err != nil {
		// The process runs on without its files as long as it can.
		release = func() {}
	}
	r.ports.keep(record.Port)
	r.ports.keep(record.MetricsPort)
	return &replica{rt: r, record: *record, process: process, release: release, usage: usage(record.PID)}, nil
}
