package docker

import (
	"testing"
	"time"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// TestByHand: the function is served as before, by one container, after somebody has
// restarted, renamed, paused and removed its containers, and pruned the daemon.
func TestByHand(t *testing.T) {
	config := testInstallation(t)
	r := start(t, config)
	d := deployment("f", 1)
	d.Request.Image = testImage
	create(t, r, d)
	first := await(t, r, "f", readyOnes(1)).Replicas[0]
	e := r.daemon.(*engine)
	another := func(than runtime.Replica) runtime.Replica {
		t.Helper()
		return await(t, r, "f", func(f *runtime.Function) bool { return readyOnes(1)(f) && f.Replicas[0].ID != than.ID }).Replicas[0]
	}

	now := 0
	if err := e.api.ContainerRestart(t.Context(), first.ID, dockercontainer.StopOptions{Timeout: &now}); err != nil {
		t.Log(err) // the folder of its secrets may be gone already, and then it cannot start
	}
	second := another(first)
	awaitRunning(t, e, config.Name, second.ID)

	if err := e.api.ContainerRename(t.Context(), second.ID, "renamed-"+config.Name); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = start(t, config)
	t.Cleanup(func() { finish(t, r) })
	e = r.daemon.(*engine)
	if same := await(t, r, "f", readyOnes(1)).Replicas[0]; same.ID != second.ID || same.URL != second.URL {
		t.Errorf("%+v is %+v after it was renamed", second, same)
	}
	if err := e.Remove(t.Context(), "renamed-"+config.Name); err != nil {
		t.Fatal(err)
	}
	third := another(second)

	if err := r.Scale(t.Context(), d.ID, 0); err != nil {
		t.Fatal(err)
	}
	await(t, r, "f", replicas(0))
	awaitRunning(t, e, config.Name, "")
	if _, err := e.api.ContainersPrune(t.Context(), labelled(labelInstallation, config.Name)); err != nil {
		t.Fatal(err)
	}
	pruned, err := e.api.NetworksPrune(t.Context(), filters.NewArgs(filters.Arg("label", labelInstallation+"="+config.Name)))
	if err != nil || len(pruned.NetworksDeleted) != 1 {
		t.Fatalf("pruned %+v, %v", pruned, err)
	}
	if err := r.Scale(t.Context(), d.ID, 1); err != nil {
		t.Fatal(err)
	}
	get(t, another(third), "/version")
}

// awaitRunning waits until one container of an installation runs, or none.
func awaitRunning(t *testing.T, e *engine, installation, name string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list, err := e.Containers(t.Context(), installation)
		if err != nil {
			t.Fatal(err)
		}
		running := ""
		for _, c := range list {
			if c.State == "running" {
				running += c.Name
			}
		}
		if running == name {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("running: %q, want %q", running, name)
		}
	}
}
