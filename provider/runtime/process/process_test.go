package process

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/runtimetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(runtimetest.ReplicaVariable) != "" {
		runtimetest.Replica()
	}
	if dir := os.Getenv(victimVariable); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if testDir != "" {
			os.RemoveAll(testDir)
		}
		os.Exit(status)
	}))
}

// testDir is the folder of testImages.
var testDir string

// testImage is the name of the image that holds this test's own program.
const testImage = "replica"

// testImages is a store with testImage.
var testImages = sync.OnceValues(func() (*image.Store, error) {
	var err error
	if testDir, err = os.MkdirTemp("", "images"); err != nil {
		return nil, err
	}
	store, err := image.Open(testDir)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	img, err := image.Build(v1.Config{
		Entrypoint: []string{"/app/replica"}, WorkingDir: "/app",
		Env: []string{runtimetest.ReplicaVariable + "=1", "GOTRACEBACK=none"},
	}, image.File{Path: "app/replica", Mode: 0o755, Source: self})
	if err != nil {
		return nil, err
	}
	_, err = store.Add(testImage, img)
	return store, err
})

// open opens a runtime on a folder; its replicas are stopped at the end.
func open(t *testing.T, dir string, change ...func(*Config)) *Runtime {
	t.Helper()
	images, err := testImages()
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Dir: dir, Images: images, Tokens: runtimetest.Token}
	for _, c := range change {
		c(&config)
	}
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stop ends what an earlier runtime on the folder left running.
func stop(t *testing.T, r *Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestConformance(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	runtimetest.Run(t, runtimetest.Harness{
		Image:            testImage,
		NotFoundAtCreate: true,
		Open:             func(t *testing.T) runtime.Runtime { return open(t, dir) },
	})
	// The suite deleted every function and closed the runtime at once.
	stop(t, open(t, dir))
	for _, folder := range []string{"functions", "replicas", "roots", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(dir, folder)); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", folder, left, err)
		}
	}
}
