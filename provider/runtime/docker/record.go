package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// Labels of what belongs to an installation.
const (
	labelInstallation = "com.faas-gpu.installation"
	labelUID          = "com.faas-gpu.uid" // of the function
	labelRecord       = "com.faas-gpu.record"
	labelReplica      = "com.faas-gpu.replica"
	labelFunction     = "com.faas-gpu.function"
	labelNamespace    = "com.faas-gpu.namespace"
	labelRevision     = "com.faas-gpu.revision"
	labelStarted      = "com.faas-gpu.started"
	labelStopTimeout  = "com.faas-gpu.stop-timeout"
	labelGPU          = "com.faas-gpu.gpu"
	labelReader       = "com.faas-gpu.reader" // of its secrets
)

// record is what should run of a function.
type record struct {
	UID        string
	Serial     int // grows with every change
	Revision   int // counts updates
	CreatedAt  time.Time
	Desired    int
	Deployment runtime.Deployment
}

// records keeps what should run, in the daemon.
type records struct {
	daemon       daemon
	installation string
	log          *slog.Logger
}

func (s records) volume(uid string, serial int) string {
	return s.installation + "-function-" + uid + "-" + strconv.Itoa(serial)
}

// save makes r the record of its function, in place of former, which is nil for a
// new one. After an error r may have been written nevertheless: the next record
// must have a higher serial.
func (s records) save(ctx context.Context, r, former *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = s.daemon.SaveRecord(ctx, s.volume(r.UID, r.Serial), map[string]string{
		labelInstallation: s.installation, labelUID: r.UID,
		labelFunction: r.Deployment.ID.Name, labelNamespace: r.Deployment.ID.Namespace,
		labelRecord: string(text),
	})
	if err != nil {
		return fmt.Errorf("keep function %s: %w", r.Deployment.ID, err)
	}
	if former == nil {
		return nil
	}
	// It is of no account any more. If it stays, it goes with the function.
	if err := s.daemon.RemoveRecord(ctx, s.volume(former.UID, former.Serial)); err != nil {
		s.log.Warn("the former record of a function stays", "function", r.Deployment.ID, "err", err)
	}
	return nil
}

// remove forgets a function: its newest record last, so that it is forgotten as a
// whole or not at all.
func (s records) remove(ctx context.Context, uid string) error {
	found, err := s.daemon.Records(ctx, map[string]string{labelInstallation: s.installation, labelUID: uid})
	if err != nil {
		return err
	}
	type volume struct {
		name   string
		serial int
	}
	var volumes []volume
	for name, labels := range found {
		v := volume{name: name}
		if r, err := parseRecord(labels); err == nil {
			v.serial = r.Serial
		}
		volumes = append(volumes, v)
	}
	slices.SortFunc(volumes, func(a, b volume) int { return cmp.Compare(a.serial, b.serial) })
	for _, v := range volumes {
		if err := s.daemon.RemoveRecord(ctx, v.name); err != nil {
			return err
		}
	}
	return nil
}

// load returns the newest record of every function. bad is called for those that
// cannot be read, which are left alone.
func (s records) load(ctx context.Context, bad func(name string, err error)) ([]*record, error) {
	found, err := s.daemon.Records(ctx, map[string]string{labelInstallation: s.installation})
	if err != nil {
		return nil, err
	}
	newest := map[string]*record{}
	for name, labels := range found {
		r, err := parseRecord(labels)
		if err != nil {
			bad(name, err)
			continue
		}
		if old := newest[r.UID]; old == nil || old.Serial < r.Serial {
			newest[r.UID] = r
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b *record) int { return cmp.Compare(a.UID, b.UID) }), nil
}

func parseRecord(labels map[string]string) (*record, error) {
	r := &record{}
	if err := json.Unmarshal([]byte(labels[labelRecord]), r); err != nil {
		return nil, fmt.Errorf("the label %s: %w", labelRecord, err)
	}
	switch {
	case r.UID == "" || r.UID != labels[labelUID]:
		return nil, fmt.Errorf("the label %s is that of another function", labelRecord)
	case r.Serial < 1 || r.Revision < 1:
		return nil, fmt.Errorf("the label %s: serial %d and revision %d are not counts from 1", labelRecord, r.Serial, r.Revision)
	}
	if err := reconcile.CheckID(r.Deployment.ID); err != nil {
		return nil, err
	}
	return r, reconcile.CheckReplicas(r.Desired)
}

// copied returns what the caller cannot change.
func copied(d runtime.Deployment) (runtime.Deployment, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return runtime.Deployment{}, err
	}
	var c runtime.Deployment
	return c, json.Unmarshal(text, &c)
}
