package process

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func save(t *testing.T, name string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOneRuntimeAFolder(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	images, err := testImages()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Dir: dir, Images: images}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second runtime on the folder: %v", err)
	}
	stop(t, r)
	if err := r.Create(t.Context(), deployment("late", 1)); err == nil {
		t.Error("Create after Stop is no error")
	}
	stop(t, open(t, dir))
}

func TestBadConfig(t *testing.T) {
	images, err := testImages()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	touch(t, file, 0o600)
	for _, c := range []Config{
		{}, {Images: images}, {Dir: "x"}, {Dir: file, Images: images},
		{Dir: t.TempDir(), Images: images, FirstPort: 2, LastPort: 1},
		{Dir: t.TempDir(), Images: images, LastPort: 70000},
	} {
		if r, err := New(c); err == nil {
			t.Errorf("%+v is no error", c)
			r.Close()
		}
	}
}

// TestDamagedState: what cannot be read costs only itself.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	create(t, r, deployment("whole", 1))
	create(t, r, deployment("broken", 1))
	ready(t, r, id("whole"), 1)
	broken := ready(t, r, id("broken"), 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(dir, "functions", broken.UID+".json")
	if err := os.Truncate(record, 20); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(dir, "tmp", "left"), 0o600)
	touch(t, filepath.Join(dir, "replicas", "no-record", "log"), 0o600)
	save(t, filepath.Join(dir, "replicas", "renamed", "replica.json"), replicaRecord{ID: "../../elsewhere", PID: os.Getpid()})
	save(t, filepath.Join(dir, "functions", "other.json"), functionRecord{UID: "../x", Deployment: deployment("x", 1)})

	var messages bytes.Buffer
	r = open(t, dir, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&messages, nil)) })
	ready(t, r, id("whole"), 1)
	if n := len(r.Snapshot().Functions); n != 1 {
		t.Errorf("%d functions, want 1", n)
	}
	stop(t, r)
	if _, err := os.Stat(record + ".bad"); err != nil {
		t.Errorf("the broken record is not put aside: %v", err)
	}
	if !strings.Contains(messages.String(), broken.UID) {
		t.Errorf("the log does not name the broken record: %s", &messages)
	}
	// The replica of the function that is lost was stopped.
	if marked(pidOf(t, broken.Replicas[0].ID), broken.Replicas[0].ID) {
		t.Error("a replica of a function that is lost runs on")
	}
	for _, name := range []string{"tmp/left", "replicas/no-record", "replicas/renamed"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

// pidOf finds a process of a replica, 0 if there is none.
func pidOf(t *testing.T, replica string) int {
	t.Helper()
	for _, pid := range pids() {
		if marked(pid, replica) {
			return pid
		}
	}
	return 0
}

// TestForeignProcess: a number that another process has now, and a start that
// was cut short.
func TestForeignProcess(t *testing.T) {
	dir := t.TempDir()
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	self, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	interrupted, err := newHandle(spawn(t, []string{marker + "=cut-short"}, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer interrupted.close()
	for _, record := range []replicaRecord{
		{ID: "other-birth", PID: os.Getpid(), Birth: self.birth - 1, Boot: boot},
		{ID: "other-boot", PID: os.Getpid(), Birth: self.birth, Boot: "before"},
		{ID: "cut-short", Boot: boot},
	} {
		record.UID, record.Function, record.Started = "gone", id("gone"), time.Now()
		save(t, filepath.Join(dir, "replicas", record.ID, "replica.json"), record)
	}
	r := open(t, dir)
	if how, err := interrupted.wait(); how != "was killed by signal SIGKILL" {
		t.Errorf("the process of the start that was cut short: %q, %v", how, err)
	}
	stop(t, r)
	if left, err := os.ReadDir(filepath.Join(dir, "replicas")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestDeletedBeforeRestart: replicas of a function that was deleted right before
// the end of the runtime are stopped by the next.
func TestDeletedBeforeRestart(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	create(t, r, deployment("deleted", 2))
	f := ready(t, r, id("deleted"), 2)
	if err := r.Delete(t.Context(), id("deleted")); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	if n := len(r.Snapshot().Functions); n != 0 {
		t.Errorf("%d functions are back", n)
	}
	stop(t, r)
	for _, replica := range f.Replicas {
		if pid := pidOf(t, replica.ID); pid != 0 {
			t.Errorf("%s runs on as %d", replica.ID, pid)
		}
	}
}

func TestStopAndStartAgain(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	create(t, r, deployment("again", 2))
	before := ready(t, r, id("again"), 2)
	stop(t, r)
	for _, replica := range before.Replicas {
		if pid := pidOf(t, replica.ID); pid != 0 {
			t.Errorf("%s runs on as %d", replica.ID, pid)
		}
	}
	r = open(t, dir)
	defer stop(t, r)
	if after := ready(t, r, id("again"), 2); after.UID != before.UID {
		t.Error("another function is back")
	}
}

func TestStopTimesOut(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	d := deployment("stubborn", 1, "term", "ignore")
	d.StopTimeout = time.Minute
	create(t, r, d)
	ready(t, r, d.ID, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); err == nil {
		t.Error("Stop says that a replica which does not stop has stopped")
	}
	r = open(t, dir)
	d.StopTimeout = 0
	if err := r.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	killReplicas(t, r, d.ID)
	stop(t, r)
}

// TestWholeReplicaEnds: when a watchdog dies, so does what it had started.
func TestWholeReplicaEnds(t *testing.T) {
	r := open(t, t.TempDir())
	defer stop(t, r)
	d := deployment("family", 1, "child", "yes")
	create(t, r, d)
	old := ready(t, r, d.ID, 1).Replicas[0]
	killReplicas(t, r, d.ID)
	wait(t, r, d.ID, func(f *runtime.Function) bool { return len(f.Replicas) == 1 && f.Replicas[0].ID != old.ID })
	if pid := pidOf(t, old.ID); pid != 0 {
		t.Errorf("process %d of a dead replica runs on", pid)
	}
}
