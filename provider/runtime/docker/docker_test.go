package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

func create(t *testing.T, r *Runtime, d runtime.Deployment) {
	t.Helper()
	if err := r.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// follow reads a function's logs until the test ends, and returns what there was
// so far.
func follow(t *testing.T, r *Runtime, name string) func() string {
	t.Helper()
	var mu sync.Mutex
	var text strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		q := logs.Request{Name: name, Namespace: runtime.DefaultNamespace, Follow: true}
		done <- r.Logs(ctx, q, func(m logs.Message) error {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&text, m.Instance, m.Text)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Logs: %v", err)
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

// TestPull: the deployment of an image that is not there is kept, and says how
// far the pull is and how it failed; the next attempt brings it.
func TestPull(t *testing.T) {
	d := newFakeDaemon()
	calls, step := make(chan func(string)), make(chan error)
	d.pull = func(ctx context.Context, name string, progress func(string)) error {
		select {
		case calls <- progress:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-step:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := openFake(t, d, t.TempDir())
	f := deployment("f", 2)
	f.Request.Image = "far/away:1"
	create(t, r, f)
	progress := <-calls
	said := follow(t, r, "f")
	progress("1 of 3 layers")
	awaitProblem(t, r, "f", "pulling image far/away:1: 1 of 3 layers")
	step <- errors.New("no route to the registry")
	awaitProblem(t, r, "f", "image far/away:1 is not here and cannot be pulled: no route to the registry")
	<-calls
	awaitProblem(t, r, "f", "pulling image far/away:1")
	d.setImage("far/away:1", imageInfo{ID: "sha256:2"})
	step <- nil
	await(t, r, "f", replicas(2))
	for _, words := range []string{"1 of 3 layers", "no route to the registry"} {
		if !strings.Contains(said(), words) {
			t.Errorf("the logs do not say %q", words)
		}
	}
	for _, c := range d.all() {
		if c.spec.Image != "sha256:2" {
			t.Errorf("a container of image %s", c.spec.Image)
		}
	}
}

// TestImageOfARevision: a name that means another image later changes nothing
// until the function is updated, after a restart of the runtime too.
func TestImageOfARevision(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	r := openFake(t, d, dir)
	f := deployment("f", 1)
	create(t, r, f)
	await(t, r, "f", replicas(1))
	d.setImage("image", imageInfo{ID: "sha256:new"})
	d.setImage("former", imageInfo{ID: "sha256:1"})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openFake(t, d, dir)
	if err := r.Scale(t.Context(), f.ID, 2); err != nil {
		t.Fatal(err)
	}
	await(t, r, "f", replicas(2))
	if err := r.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	await(t, r, "f", replicas(3))
	for i, want := range []string{"sha256:1", "sha256:1", "sha256:new"} {
		if got := d.all()[i].spec.Image; got != want {
			t.Errorf("container %d is of image %s, want %s", i, got, want)
		}
	}
}

// TestDeathUnheard: containers that ended while the events could not be heard are
// found by the list.
func TestDeathUnheard(t *testing.T) {
	d := newFakeDaemon()
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 2))
	f := await(t, r, "f", replicas(2))
	d.end(d.all()[0].ID, 3, false)
	d.lose()
	awaitProblem(t, r, "f", "exited with status 3")
	await(t, r, "f", func(now *runtime.Function) bool {
		return len(now.Replicas) == 2 && now.Replicas[0].ID == f.Replicas[1].ID
	})
}

func TestStartFails(t *testing.T) {
	d := newFakeDaemon()
	d.failStart = errors.New(`exec: "./handler": no such file`)
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 1))
	awaitProblem(t, r, "f", `cannot be started: exec: "./handler": no such file; tried again after 1s`)
	if left := d.all(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if left, err := os.ReadDir(r.replicaDir("")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestLeftByAKill: whatever an earlier run was killed at, the next has the
// functions whole and removes the rest.
func TestLeftByAKill(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	r := openFake(t, d, dir)
	create(t, r, deployment("stays", 1))
	create(t, r, deployment("leaves", 1))
	f := await(t, r, "stays", replicas(1))
	leaves := await(t, r, "leaves", replicas(1))
	// Killed between the new record and the removal of the former.
	d.keepRecord = true
	if err := r.Scale(t.Context(), f.Deployment.ID, 0); err != nil {
		t.Fatal(err)
	}
	d.keepRecord = false
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// Killed between a folder, a container and its start.
	if err := os.Mkdir(r.replicaDir("nobody"), 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := d.Create(t.Context(), "stays.openfaas-fn.1-00000000", r.spec(
		&record{UID: f.UID, Revision: 1, Deployment: f.Deployment}, r.newReplica(reconcile.Info{ID: "stays.openfaas-fn.1-00000000", Revision: 1})))
	if err != nil {
		t.Fatal(err)
	}
	// Somebody made a container with our labels but not all of them, and a record
	// that is none.
	if _, err := d.Create(t.Context(), "stranger", containerSpec{Labels: map[string]string{labelInstallation: "test", labelUID: "?"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveRecord(t.Context(), "bad", map[string]string{labelInstallation: "test", labelUID: "x", labelRecord: "{"}); err != nil {
		t.Fatal(err)
	}

	r = openFake(t, d, dir)
	await(t, r, "stays", func(now *runtime.Function) bool {
		return now.Desired == 0 && now.UID == f.UID && len(now.Replicas) == 0
	})
	await(t, r, "leaves", func(now *runtime.Function) bool {
		return len(now.Replicas) == 1 && now.Replicas[0].ID == leaves.Replicas[0].ID
	})
	if c, err := d.Inspect(t.Context(), id); !errors.Is(err, errNotThere) {
		t.Errorf("a container that was never started is left: %+v, %v", c, err)
	}
	if _, err := os.Stat(r.replicaDir("nobody")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a container is left: %v", err)
	}
	if err := r.Delete(t.Context(), f.Deployment.ID); err != nil {
		t.Fatal(err)
	}
	for name, labels := range d.records {
		if labels[labelUID] == f.UID {
			t.Errorf("record %s of a deleted function is left", name)
		}
	}
}

// TestChangeThatMayBeKept: after a change that was kept although it failed, the
// next one counts.
func TestChangeThatMayBeKept(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	r := openFake(t, d, dir)
	create(t, r, deployment("f", 1))
	id := deployment("f", 1).ID
	d.lateRecord = true
	if err := r.Scale(t.Context(), id, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Scale: %v", err)
	}
	if err := r.Create(t.Context(), deployment("g", 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Create: %v", err)
	}
	d.lateRecord = false
	if got := r.Snapshot().Functions[id].Desired; got != 1 {
		t.Errorf("desired %d after a change that failed", got)
	}
	if err := r.Scale(t.Context(), id, 2); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openFake(t, d, dir)
	if f := r.Snapshot().Functions[id]; f.Desired != 2 || len(r.Snapshot().Functions) != 1 {
		t.Errorf("after a restart: %+v, and %d functions", f, len(r.Snapshot().Functions))
	}
	if err := r.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if len(d.records) != 0 {
		t.Errorf("left: %v", d.records)
	}
}

func TestRefusals(t *testing.T) {
	r := openFake(t, newFakeDaemon(), t.TempDir())
	for words, change := range map[string]func(*types.FunctionDeployment){
		"is not the name of an image":        func(d *types.FunctionDeployment) { d.Image = "not an image" },
		"no node meets":                      func(d *types.FunctionDeployment) { d.Constraints = []string{"node.hostname == there"} },
		"requests.memory: 9Gi":               func(d *types.FunctionDeployment) { d.Requests = &types.FunctionResources{Memory: "9Gi"} },
		"requests.cpu: 2100m":                func(d *types.FunctionDeployment) { d.Requests = &types.FunctionResources{CPU: "2100m"} },
		"no secret key":                      func(d *types.FunctionDeployment) { d.Secrets = []string{"key"} },
		`requests.memory: "lots" is no quan`: func(d *types.FunctionDeployment) { d.Requests = &types.FunctionResources{Memory: "lots"} },
	} {
		d := deployment("f", 1)
		change(&d.Request)
		if err := r.Create(t.Context(), d); !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("Create: %v, want ErrInvalid with %q", err, words)
		}
	}
	if n := len(r.Snapshot().Functions); n != 0 {
		t.Errorf("%d functions are there that were refused", n)
	}
	dir := filepath.Dir(r.replicaDir(""))
	if again, err := open(t.Context(), Config{Name: "test", Dir: dir}, newFakeDaemon()); err == nil {
		again.Close()
		t.Error("a second runtime uses the folder of the first")
	}
}
