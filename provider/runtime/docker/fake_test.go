package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
)

// fakeDaemon keeps in memory what a daemon would. Its containers run nothing.
type fakeDaemon struct {
	machine node
	pull    func(ctx context.Context, name string, progress func(string)) error

	mu         sync.Mutex
	images     map[string]imageInfo
	containers map[string]*fakeContainer
	records    map[string]map[string]string
	report     func(event)
	failList   error // Containers, once
	failRemove error
	noNetwork  bool
	noAddress  bool
	lost       chan struct{} // closed to break the stream of events
	count      int
	failStart  error
	keepRecord bool // RemoveRecord fails
	lateRecord bool // SaveRecord does what it should, and fails
}

type fakeContainer struct {
	container
	spec containerSpec
}

var _ daemon = (*fakeDaemon)(nil)

// nobodysIP is where fake containers are: an address of the loopback network that no
// program is likely to listen at.
const nobodysIP = "127.86.75.30"

func newFakeDaemon() *fakeDaemon {
	return &fakeDaemon{
		machine: node{
			Machine: machine.Machine{ID: "ID", Name: "here", OS: "linux", Arch: "amd64", CPUs: 2, MemoryBytes: 8 << 30},
			Version: "20.10", LimitsMemory: true, LimitsCPU: true,
		},
		images: map[string]imageInfo{"image": {ID: "sha256:1"}}, containers: map[string]*fakeContainer{},
		records: map[string]map[string]string{}, lost: make(chan struct{}),
	}
}

func (d *fakeDaemon) Node(context.Context) (node, error) { return d.machine, nil }
func (d *fakeDaemon) Close() error                       { return nil }

func (d *fakeDaemon) EnsureNetwork(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noNetwork = false
	return nil
}

func (d *fakeDaemon) Image(_ context.Context, name string) (imageInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for known, i := range d.images {
		if known == name || i.ID == name {
			return i, nil
		}
	}
	return imageInfo{}, errNotThere
}

func (d *fakeDaemon) setImage(name string, i imageInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.images[name] = i
}

func (d *fakeDaemon) Pull(ctx context.Context, name string, progress func(string)) error {
	return d.pull(ctx, name, progress)
}

func (d *fakeDaemon) Create(_ context.Context, name string, spec containerSpec) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	id := fmt.Sprint("container", d.count)
	d.containers[id] = &fakeContainer{container{ID: id, Name: name, Image: spec.Image, Labels: spec.Labels, State: "created"}, spec}
	return id, nil
}

func (d *fakeDaemon) Start(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.failStart != nil:
		return d.failStart
	case d.noNetwork:
		return errors.New("network test not found")
	}
	d.containers[id].State = "running"
	if !d.noAddress {
		d.containers[id].IP = nobodysIP
	}
	return nil
}

func (d *fakeDaemon) Inspect(_ context.Context, id string) (container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.containers[id]; c != nil {
		return c.container, nil
	}
	return container{}, errNotThere
}

func (d *fakeDaemon) Containers(context.Context, string) ([]container, error) {
	d.mu.Lock()
	err := d.failList
	d.failList = nil
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var list []container
	for _, c := range d.all() {
		list = append(list, c.container)
	}
	return list, nil
}

// all containers, the first that was made first.
func (d *fakeDaemon) all() []fakeContainer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []fakeContainer
	for _, id := range slices.Sorted(maps.Keys(d.containers)) {
		list = append(list, *d.containers[id])
	}
	return list
}

func (d *fakeDaemon) Signal(_ context.Context, id, _ string) error {
	d.end(id, 0, true)
	return nil
}

// end ends a container, and tells so or not.
func (d *fakeDaemon) end(id string, code int, tell bool) {
	d.mu.Lock()
	c, report := d.containers[id], d.report
	if c != nil {
		c.State, c.ExitCode = "exited", code
	}
	d.mu.Unlock()
	if tell && report != nil {
		report(event{ID: id})
	}
}

// lose breaks the stream of events.
func (d *fakeDaemon) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.lost)
}

func (d *fakeDaemon) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failRemove != nil {
		return d.failRemove
	}
	delete(d.containers, id)
	return nil
}

func (d *fakeDaemon) Logs(context.Context, string, logQuery) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(nil)), nil
}

func (d *fakeDaemon) Usage(context.Context, string) (usage, error) { return usage{}, errNotThere }

func (d *fakeDaemon) Watch(ctx context.Context, _ string, listening func() error, report func(event)) error {
	d.mu.Lock()
	d.report = report
	lost := d.lost
	d.mu.Unlock()
	if err := listening(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-lost:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = make(chan struct{})
	return errors.New("connection lost")
}

func (d *fakeDaemon) SaveRecord(_ context.Context, name string, labels map[string]string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.records[name] == nil { // the daemon does not change what is there
		d.records[name] = labels
	}
	if d.lateRecord {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *fakeDaemon) Records(_ context.Context, having map[string]string) (map[string]map[string]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[string]map[string]string{}
	for name, labels := range d.records {
		all := true
		for k, v := range having {
			all = all && labels[k] == v
		}
		if all {
			found[name] = labels
		}
	}
	return found, nil
}

func (d *fakeDaemon) RemoveRecord(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keepRecord {
		return errors.New("the daemon is busy")
	}
	delete(d.records, name)
	return nil
}
