package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

// asProgram is the variable that makes this test program the program itself.
const asProgram = "FAAS_GPU_TEST_CACHEMGRD"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startProcess is startIn with a process of its own.
func startProcess(t *testing.T, dir string, environ ...string) (*api.Client, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{
		asProgram + "=1", "auth=none", "listen=off", "metrics_listen=off", "socket_dir=" + dir, "store_path=" + filepath.Join(dir, "store"),
	}, environ...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("it said:\n%s", &said)
		}
	})
	c, err := api.NewClient(api.ClientConfig{Address: filepath.Join(dir, api.SocketOIP)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	awaitReady(t, c)
	return c, cmd
}

func awaitReady(t *testing.T, c *api.Client) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if ready, _ := c.ServerReady(t.Context()); ready {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not ready after 30 s")
		}
	}
}

// A GPU that is lost costs no wrong answer; the CPU stands in until the process
// has begun anew and has the GPU back.
func TestLostGPU(t *testing.T) {
	c, cmd := startProcess(t, socketDir(t), bothEngines(t, "gpushim_settings=fault=launch:100:2", "restart_pause=0")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	want := awaitEngine(t, c, "tensorrt")
	_, info, err := inferScale(t, c, api.Call{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	epoch := info.Epoch
	var lost, back time.Time
	refusals, fallbacks := 0, 0
	for deadline := time.Now().Add(30 * time.Second); back.IsZero(); {
		got, info, err := inferScale(t, c, api.Call{}, 2)
		switch {
		case time.Now().After(deadline):
			t.Fatalf("the GPU is not back: %+v, %v", info, err)
		case err != nil && !api.IsUnavailable(err):
			t.Fatalf("failed with %v", err)
		case err != nil:
			refusals++
			time.Sleep(time.Millisecond)
		case !bytes.Equal(got, want):
			t.Fatalf("%x, want %x", got, want)
		case info.Engine == "onnxruntime":
			fallbacks++
		case info.Epoch != epoch:
			back = time.Now()
		}
		if lost.IsZero() && (err != nil || info.Engine != "tensorrt") {
			lost = time.Now()
		}
	}
	t.Logf("%v from the loss to the first answer of the GPU; %d answers of the CPU, %d requests could not be sent", back.Sub(lost), fallbacks, refusals)
	if fallbacks == 0 {
		t.Error("the request that lost the GPU was not answered")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil { // it is the same process
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Until the restart what only a GPU may answer is refused, and nothing else.
func TestLostGPUWithoutRestart(t *testing.T) {
	c, stop := startIn(t, socketDir(t), bothEngines(t, "gpushim_settings=fault=launch:30:2", "restart_pause=1h", "allow_plans=true")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	awaitEngine(t, c, "tensorrt")
	awaitEngine(t, c, "onnxruntime")
	_, _, err := inferScale(t, c, api.Call{Fallback: "refuse"}, 2)
	if statusOf(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "device lost") {
		t.Errorf("refused with %v", err)
	}
	_, _, err = inferScale(t, c, api.Call{Fallback: "wait"}, 2)
	if statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("waited for %v", err)
	}
	if refused := offerOne(t, c, "plan", planOf(t, scaleModel(t, 1)), api.ModelConfig{}); refused != "" {
		t.Fatal(refused)
	}
	if _, _, err := inferScale(t, c, api.Call{}, 2); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("a plan on a GPU that was lost: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A GPU that comes later is taken without anybody's doing.
func TestGPUComesLater(t *testing.T) {
	dir := socketDir(t)
	library := filepath.Join(dir, "libgpushim.so")
	c, _ := startProcess(t, dir, bothEngines(t, "gpushim_library="+library, "gpu_retry=50ms")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	want := awaitEngine(t, c, "onnxruntime")
	if err := os.Symlink(testlibs.Double(t), library); err != nil {
		t.Fatal(err)
	}
	if got := awaitEngine(t, c, "tensorrt"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// Killed while a plan is built, the next process builds it.
func TestKilledDuringBuild(t *testing.T) {
	dir := socketDir(t)
	c, cmd := startProcess(t, dir, bothEngines(t, "GPUSHIM_DOUBLE_BUILD_MS=20000")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	var building string
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(building, "building"); time.Sleep(2 * time.Millisecond) {
		st, err := c.Cache(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("it does not build: %q, %v", building, err)
		}
		for _, i := range st.Models[0].Instances {
			if i.State == api.StateBuilding {
				building = i.Reason
			}
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c, _ = startProcess(t, dir, bothEngines(t)...)
	awaitEngine(t, c, "tensorrt")
}
