package docker

import (
	"errors"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func (d *fakeDaemon) awaitState(t *testing.T, id, state string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := d.Inspect(t.Context(), id)
		if err == nil && c.State == state {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("container %s: %+v, %v; want %s", id, c, err, state)
		}
	}
}

// tell reports an event, once somebody listens.
func (d *fakeDaemon) tell(t *testing.T, e event) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		report := d.report
		d.mu.Unlock()
		if report != nil {
			report(e)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody listens to events")
		}
	}
}

// TestDeathUnheardTwice: a daemon that has just come back may not list its containers
// yet; then it is asked again.
func TestDeathUnheardTwice(t *testing.T) {
	d := newFakeDaemon()
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 1))
	await(t, r, "f", replicas(1))
	d.end(d.all()[0].ID, 3, false)
	d.mu.Lock()
	d.failList = errors.New("the daemon is busy")
	d.mu.Unlock()
	d.lose()
	awaitProblem(t, r, "f", "exited with status 3")
}

// TestStartedByHand: a container that somebody starts again, after another took its
// place, does not go on beside that, whether its start is heard or found later.
func TestStartedByHand(t *testing.T) {
	for name, heard := range map[string]bool{"heard": true, "unheard": false} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDaemon()
			r := openFake(t, d, t.TempDir())
			create(t, r, deployment("f", 1))
			first := await(t, r, "f", replicas(1)).Replicas[0]
			old := d.all()[0].ID
			d.end(old, 0, true)
			second := await(t, r, "f", func(f *runtime.Function) bool {
				return len(f.Replicas) == 1 && f.Replicas[0].ID != first.ID
			}).Replicas[0]
			if err := d.Start(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			if heard {
				d.tell(t, event{ID: old, Started: true})
			} else {
				d.lose()
			}
			d.awaitState(t, old, "exited")
			if f := await(t, r, "f", replicas(1)); f.Replicas[0].ID != second.ID {
				t.Errorf("the replica that took its place is gone: %+v", f.Replicas)
			}
		})
	}
}

// TestRestartedByHand: a container that runs again before its end was noticed makes
// room for another.
func TestRestartedByHand(t *testing.T) {
	d := newFakeDaemon()
	r := openFake(t, d, t.TempDir())
	create(t, r, deployment("f", 1))
	first := await(t, r, "f", replicas(1)).Replicas[0]
	old := d.all()[0].ID
	d.tell(t, event{ID: old}) // and it runs nevertheless
	await(t, r, "f", func(f *runtime.Function) bool { return len(f.Replicas) == 1 && f.Replicas[0].ID != first.ID })
	d.awaitState(t, old, "exited")
}
