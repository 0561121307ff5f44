package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

// functionRecord is what should run.
type functionRecord struct {
	UID        string
	Deployment runtime.Deployment
	Image      image.Image
	Revision   int // counts the function's updates
	CreatedAt  time.Time
	Desired    int
}

// replicaRecord is one run of a function's process.
type replicaRecord struct {
	ID       string
	UID      string // of the function
	Function runtime.ID
	Revision int
	Digest   string // of the image

	// PID is 0 until the process was started. A PID is used again and again: a
	// process is the one meant if it was started at tick Birth of this Boot.
	PID   int    `json:",omitempty"`
	Birth uint64 `json:",omitempty"`
	Boot  string

	Port        int
	MetricsPort int
	StopTimeout time.Duration
	Started     time.Time
	Ended       time.Time `json:",omitzero"`
}

// journal is the folder of a runtime.
type journal struct{ dir string }

func openJournal(dir string) (journal, error) {
	j := journal{dir}
	// What writes that were cut short left.
	err := os.RemoveAll(j.path("tmp"))
	for _, name := range []string{"tmp", "functions", "replicas"} {
		err = errors.Join(err, os.MkdirAll(j.path(name), 0o700))
	}
	if err != nil {
		return journal{}, fmt.Errorf("process runtime: %w", err)
	}
	return j, nil
}

func (j journal) path(elem ...string) string {
	return filepath.Join(append([]string{j.dir}, elem...)...)
}

func (j journal) replicaDir(id string) string { return j.path("replicas", id) }

func (j journal) saveFunction(r *functionRecord) error {
	return j.save(j.path("functions", r.UID+".json"), r)
}

func (j journal) removeFunction(uid string) error {
	if err := os.Remove(j.path("functions", uid+".json")); err != nil {
		return err
	}
	return durable.Sync(j.path("functions"))
}

func (j journal) saveReplica(r *replicaRecord) error {
	return j.save(filepath.Join(j.replicaDir(r.ID), "replica.json"), r)
}

func (j journal) save(name string, record any) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return j.writeFile(name, data)
}

// writeFile replaces a file by one with this content and mode 0600, for good, or
// does nothing.
func (j journal) writeFile(name string, data []byte) error {
	tmp, err := j.temp(data)
	if err != nil {
		return err
	}
	return durable.Rename(tmp, name)
}

// temp writes data to a new file that may be moved to where it belongs.
func (j journal) temp(data []byte) (string, error) {
	return durable.Temp(j.path("tmp"), "*", data)
}

// functions reads all functions. A file that cannot be read costs only its own
// function: it is put aside and logged.
func (j journal) functions(log *slog.Logger) ([]*functionRecord, error) {
	entries, err := os.ReadDir(j.path("functions"))
	if err != nil {
		return nil, err
	}
	var all []*functionRecord
	for _, e := range entries {
		uid, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		name := j.path("functions", e.Name())
		r, err := load[functionRecord](name)
		if err == nil && (r.UID != uid || reconcile.CheckID(r.Deployment.ID) != nil) {
			err = errors.New("it is the record of another function")
		}
		if err != nil {
			log.Error("a function is lost: its record cannot be read and is put aside", "file", name+".bad", "err", err)
			if err := os.Rename(name, name+".bad"); err != nil {
				return nil, err
			}
			continue
		}
		all = append(all, r)
	}
	return all, nil
}

// replicas reads all replicas, also those that ended. A folder without a record
// is one that was being made or removed, and is removed.
func (j journal) replicas(log *slog.Logger) ([]*replicaRecord, error) {
	entries, err := os.ReadDir(j.path("replicas"))
	if err != nil {
		return nil, err
	}
	var all []*replicaRecord
	for _, e := range entries {
		r, err := load[replicaRecord](filepath.Join(j.replicaDir(e.Name()), "replica.json"))
		if err == nil && r.ID != e.Name() {
			err = errors.New("it is the record of another replica")
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				log.Error("the record of a replica cannot be read: its processes are ended", "replica", e.Name(), "err", err)
			}
			killMarked(e.Name())
			if err := os.RemoveAll(j.replicaDir(e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		all = append(all, r)
	}
	return all, nil
}

func load[T any](name string) (*T, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return &v, nil
}
