package docker

import (
	"errors"
	"os"
	"testing"
)

// What people do to containers and networks of a daemon by hand, and clean-ups do by
// themselves.

// TestNetworkPruned: docker system prune removes a network that no container uses at
// the moment; functions start nevertheless.
func TestNetworkPruned(t *testing.T) {
	d := newFakeDaemon()
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 0))
	d.mu.Lock()
	d.noNetwork = true
	d.mu.Unlock()
	if err := r.Scale(t.Context(), deployment("f", 0).ID, 1); err != nil {
		t.Fatal(err)
	}
	await(t, r, "f", replicas(1))
}

// TestRenamed: a replica keeps its name and its secrets whatever its container is
// called.
func TestRenamed(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	r := openFake(t, d, dir)
	create(t, r, deployment("f", 1))
	before := await(t, r, "f", replicas(1)).Replicas[0]
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.containers[d.onlyID()].Name = "mine"
	d.mu.Unlock()
	r = openFake(t, d, dir)
	after := await(t, r, "f", replicas(1)).Replicas[0]
	if after.ID != before.ID {
		t.Errorf("the replica %s is %s now", before.ID, after.ID)
	}
	if _, err := os.Stat(r.replicaDir(before.ID)); err != nil {
		t.Errorf("its secrets: %v", err)
	}
}

func (d *fakeDaemon) onlyID() string {
	for id := range d.containers {
		return id
	}
	return ""
}

// TestStuckContainer: one container that the daemon cannot remove keeps nobody from
// being served.
func TestStuckContainer(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	r := openFake(t, d, dir)
	create(t, r, deployment("f", 1))
	await(t, r, "f", replicas(1))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// One that was never started, and one with our name on it and nothing else.
	for _, labels := range []map[string]string{d.all()[0].Labels, {labelInstallation: "test", labelUID: "?"}} {
		if _, err := d.Create(t.Context(), "stuck", containerSpec{Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	d.failRemove = errors.New("device or resource busy")
	r = openFake(t, d, dir)
	await(t, r, "f", replicas(1))
}

// TestWithoutAnAddress: a container that is in no network is not taken for whatever
// listens on this machine.
func TestWithoutAnAddress(t *testing.T) {
	d := newFakeDaemon()
	d.noAddress = true
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 1))
	awaitProblem(t, r, "f", "has no address in the network test")
	if f := r.Snapshot().Functions[deployment("f", 1).ID]; len(f.Replicas) != 0 {
		t.Errorf("replicas %+v", f.Replicas)
	}
}
