package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/internal/lockdir"
)

// record is ID.json.
type record struct {
	ID        string    `json:"id"`
	Digest    string    `json:"digest"`
	Precision string    `json:"precision"`
	Batch     int       `json:"batch"`
	Target    Target    `json:"target"`
	Size      int64     `json:"size_bytes"`
	Made      time.Time `json:"made"`
	Proven    bool      `json:"proven"`
	Rows      int       `json:"rows"`
}

// plans is the folder of plans.
type plans struct {
	dir   string
	quota int64
	log   *slog.Logger
	lock  *os.File

	mu   sync.Mutex // never held during I/O
	all  map[string]*planFile
	used int64 // bytes of all
}

type planFile struct {
	record
	inUse    bool
	lastUsed time.Time
}

func openPlans(dir string, quota int64, log *slog.Logger) (_ *plans, err error) {
	p := &plans{dir: dir, quota: quota, log: log, all: make(map[string]*planFile)}
	if p.lock, err = lockdir.Lock(dir); err != nil {
		return nil, err
	}
	if err := p.read(); err != nil {
		return nil, errors.Join(err, p.lock.Close())
	}
	return p, nil
}

func (p *plans) close() error { return p.lock.Close() }

// read finds the plans that count and removes all others.
func (p *plans) read() error {
	if err := os.RemoveAll(p.path("tmp")); err != nil {
		return err
	}
	if err := os.Mkdir(p.path("tmp"), 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			p.adopt(id)
		}
	}
	for _, e := range entries {
		id, isPlan := strings.CutSuffix(e.Name(), ".plan")
		if _, counts := p.all[id]; isPlan && !counts {
			p.log.Warn("removed a plan that was not finished", "file", p.path(e.Name()))
			if err := os.Remove(p.path(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt takes over a plan of an earlier process, or removes its record.
func (p *plans) adopt(id string) {
	f, err := p.readRecord(id)
	if err != nil {
		p.log.Warn("removed the record of a plan that cannot be used", "file", p.record(id), "reason", err)
		if err := os.Remove(p.record(id)); err != nil {
			p.log.Warn("not removed", "error", err)
		}
		return
	}
	p.all[id] = f
	p.used += f.Size
}

func (p *plans) readRecord(id string) (*planFile, error) {
	text, err := os.ReadFile(p.record(id))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.ID != id {
		return nil, fmt.Errorf("it is the record of %q", r.ID)
	}
	info, err := os.Stat(p.plan(id))
	if err != nil {
		return nil, err
	}
	if info.Size() != r.Size {
		return nil, fmt.Errorf("the plan has %d bytes, and had %d", info.Size(), r.Size)
	}
	return &planFile{record: r, lastUsed: info.ModTime()}, nil
}

func (p *plans) path(name string) string    { return filepath.Join(p.dir, name) }
func (p *plans) plan(id string) string      { return p.path(id + ".plan") }
func (p *plans) record(id string) string    { return p.path(id + ".json") }
func (p *plans) temporary(id string) string { return filepath.Join(p.dir, "tmp", id+".plan") }
func (p *plans) timings(t Target) string {
	return p.path("timing-" + digestOf(t.TensorRT, t.Device, t.SM) + ".cache")
}

func (p *plans) handle(f *planFile) Plan {
	return Plan{ID: f.ID, Path: p.plan(f.ID), Size: f.Size, Proven: f.Proven, Rows: f.Rows}
}

// use finds a plan and keeps it until release.
func (p *plans) use(id string) (Plan, bool) {
	p.mu.Lock()
	f := p.all[id]
	if f == nil {
		p.mu.Unlock()
		return Plan{}, false
	}
	f.inUse, f.lastUsed = true, time.Now()
	h, now := p.handle(f), f.lastUsed
	p.mu.Unlock()
	if err := os.Chtimes(h.Path, now, now); err != nil { // only the order of deletion after a restart depends on it
		p.log.Warn("use of a plan not noted", "error", err)
	}
	return h, true
}

func (p *plans) release(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.all[id]; f != nil {
		f.inUse, f.lastUsed = false, time.Now()
	}
}

// keep gives a plan that was built its name, and makes room for it. The caller
// has the turn.
func (p *plans) keep(temporary string, r record) (Plan, error) {
	info, err := os.Stat(temporary)
	if err != nil {
		return Plan{}, err
	}
	r.Size = info.Size()
	if err := p.makeRoom(r.Size); err != nil {
		return Plan{}, err
	}
	if err := durable.Sync(temporary); err != nil {
		return Plan{}, err
	}
	if err := os.Rename(temporary, p.plan(r.ID)); err != nil {
		return Plan{}, err
	}
	if err := p.write(r); err != nil {
		return Plan{}, errors.Join(err, os.Remove(p.plan(r.ID)))
	}
	f := &planFile{record: r, inUse: true, lastUsed: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[r.ID] = f
	p.used += r.Size
	return p.handle(f), nil
}

// makeRoom deletes plans that nobody uses, the least recently used first.
func (p *plans) makeRoom(size int64) error {
	p.mu.Lock()
	var unused []*planFile
	for _, f := range p.all {
		if !f.inUse {
			unused = append(unused, f)
		}
	}
	slices.SortFunc(unused, func(a, b *planFile) int { return a.lastUsed.Compare(b.lastUsed) })
	free, victims := p.quota-p.used, 0
	for victims < len(unused) && free < size {
		free += unused[victims].Size
		victims++
	}
	if free < size {
		used := p.used
		p.mu.Unlock()
		return fmt.Errorf("%w: %d bytes are wanted, %d of %d are in use", ErrQuota, size, used, p.quota)
	}
	for _, f := range unused[:victims] {
		delete(p.all, f.ID)
		p.used -= f.Size
	}
	p.mu.Unlock()
	for _, f := range unused[:victims] {
		p.log.Info("deleted a plan that nobody uses", "digest", f.Digest, "precision", f.Precision, "bytes", f.Size)
		if err := p.remove(f.ID); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the files of a plan, the record first: without it the plan does
// not count.
func (p *plans) remove(id string) error {
	for _, path := range []string{p.record(id), p.plan(id)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *plans) discard(id string) error {
	p.mu.Lock()
	if f := p.all[id]; f != nil {
		delete(p.all, id)
		p.used -= f.Size
	}
	p.mu.Unlock()
	return p.remove(id)
}

func (p *plans) prove(id string, rows int) error {
	p.mu.Lock()
	f := p.all[id]
	if f == nil {
		p.mu.Unlock()
		return fmt.Errorf("there is no plan %s", id)
	}
	f.Proven, f.Rows = true, rows
	r := f.record
	p.mu.Unlock()
	return p.write(r)
}

// write replaces a record on disk.
func (p *plans) write(r record) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := durable.Temp(p.path("tmp"), r.ID+".*", text)
	if err != nil {
		return err
	}
	return durable.Rename(tmp, p.record(r.ID))
}
