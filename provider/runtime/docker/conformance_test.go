package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/runtimetest"
)

// hostVariable names the daemon that these tests use. `make test-docker` starts
// one.
const hostVariable = "DOCKER_TEST_HOST"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEngine is the daemon of the tests, which are skipped where there is none.
func testEngine(t *testing.T) *engine {
	t.Helper()
	host := os.Getenv(hostVariable)
	if host == "" {
		t.Skipf("%s is not set: there is no Docker daemon for tests; `make test-docker` starts one", hostVariable)
	}
	e, err := dial(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// testImage is the name of the image that holds the suite's program.
const testImage = "faas-gpu-test/replica:latest"

// makeImage puts testImage into a daemon, once.
var makeImage = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "replica-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "replica")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "../runtimetest/replica")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	archive, err := archiveOf(program)
	if err != nil {
		return err
	}
	e, err := dial(os.Getenv(hostVariable))
	if err != nil {
		return err
	}
	defer e.Close()
	answer, err := e.api.ImageImport(context.Background(), image.ImportSource{Source: archive, SourceName: "-"}, testImage,
		image.ImportOptions{Changes: []string{
			`ENTRYPOINT ["/app/replica"]`, "WORKDIR /app", "ENV " + runtimetest.ReplicaVariable + "=1 port=9 log_file=/image",
			`HEALTHCHECK CMD ["/none"]`,
		}})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
})

// archiveOf is the files of testImage.
func archiveOf(program string) (io.Reader, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, file := range []struct {
		header  tar.Header
		content []byte
	}{
		{tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil},
		{tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("app:x:1000:1000::/:/none\n")},
		{tar.Header{Name: "app/replica", Typeflag: tar.TypeReg, Mode: 0o755}, content},
	} {
		file.header.Size = int64(len(file.content))
		if err := w.WriteHeader(&file.header); err != nil {
			return nil, err
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}

// testInstallation is a folder and a name of its own at the daemon; at the end of
// the test nothing of it may be left.
func testInstallation(t *testing.T) Config {
	t.Helper()
	e := testEngine(t)
	if err := makeImage(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := Config{
		Host: os.Getenv(hostVariable), Name: fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()),
		Dir: filepath.Join(dir, "state"), CachemgrSocket: filepath.Join(dir, "run", "oip.sock"), Tokens: runtimetest.Token,
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := e.api.NetworkRemove(ctx, config.Name); err != nil {
			t.Errorf("remove the network: %v", err)
		}
		containers, err := e.Containers(ctx, config.Name)
		if err != nil || len(containers) != 0 {
			t.Errorf("left: %+v, %v", containers, err)
		}
		records, err := e.Records(ctx, map[string]string{labelInstallation: config.Name})
		if err != nil || len(records) != 0 {
			t.Errorf("left: %+v, %v", records, err)
		}
		if folders, err := os.ReadDir(filepath.Join(config.Dir, "replicas")); err != nil || len(folders) != 0 {
			t.Errorf("left: %v, %v", folders, err)
		}
	})
	return config
}

// start opens a runtime.
func start(t *testing.T, config Config) *Runtime {
	t.Helper()
	if testing.Verbose() {
		config.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// finish deletes all functions of an installation and waits until their replicas
// have stopped.
func finish(t *testing.T, r *Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for id := range r.Snapshot().Functions {
		if err := r.Delete(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if err := r.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestConformance(t *testing.T) {
	config := testInstallation(t)
	runtimetest.Run(t, runtimetest.Harness{
		Image: testImage,
		Open:  func(t *testing.T) runtime.Runtime { return start(t, config) },
	})
	// The suite deleted every function and closed the runtime at once.
	finish(t, start(t, config))
}
