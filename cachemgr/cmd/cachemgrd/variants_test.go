package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

// bothEngines is a node with the double and ONNX Runtime beside it.
func bothEngines(t *testing.T, environ ...string) []string {
	t.Helper()
	return append([]string{
		"engine=tensorrt", "gpushim_library=" + testlibs.Double(t), "engine_builder=" + testlibs.Builder(t),
		"onnxruntime_library=" + onnxLibrary(t), "threads=1", "builder_idle=1ms", "builder_device_memory=1Mi",
	}, environ...)
}

// awaitEngine sends requests until one is answered by an engine, and returns its
// output.
func awaitEngine(t *testing.T, c *api.Client, engine string) []byte {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		out, info, err := inferScale(t, c, api.Call{}, 2)
		if err == nil && info.Engine == engine {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not answered: %+v, %v", engine, info, err)
		}
	}
}

// The CPU answers until the plan is built, then the GPU does, with the same bits;
// under a constant load no request fails.
func TestChangeover(t *testing.T) {
	c, stop := startIn(t, socketDir(t), bothEngines(t, "GPUSHIM_DOUBLE_BUILD_MS=200")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	want, info, err := inferScale(t, c, api.Call{}, 2)
	if err != nil || info.Engine != "onnxruntime" || info.Cache != api.CacheFallback || info.Device != "cpu" {
		t.Fatalf("%+v, %v", info, err)
	}
	var wait sync.WaitGroup
	var onCPU, onGPU atomic.Int64
	done := make(chan struct{})
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, info, err := inferScale(t, c, api.Call{}, 2)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%+v, %v, %x, want %x", info, err, got, want)
					return
				}
				if info.Engine == "tensorrt" {
					onGPU.Add(1)
				} else {
					onCPU.Add(1)
				}
			}
		})
	}
	awaitEngine(t, c, "tensorrt")
	time.AfterFunc(200*time.Millisecond, func() { close(done) }) // some more load after the change
	wait.Wait()
	t.Logf("%d answers of the CPU, %d of the GPU", onCPU.Load(), onGPU.Load())
	if onCPU.Load() == 0 || onGPU.Load() == 0 {
		t.Error("both should have answered")
	}

	// What no plan was built for is still the CPU's.
	if _, info, err := inferScale(t, c, api.Call{}, 5); err != nil || info.Cache != api.CacheFallback {
		t.Errorf("a batch of 5: %+v, %v", info, err)
	}
	if _, _, err := inferScale(t, c, api.Call{Fallback: "refuse"}, 5); statusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "max_batch") {
		t.Errorf("a batch of 5 that only a GPU may answer: %v", err)
	}
	st, err := c.Cache(t.Context())
	if err != nil || len(st.Models) != 1 || len(st.Devices) != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	states := map[string]api.State{}
	for _, i := range st.Models[0].Instances {
		states[i.Device] = i.State
	}
	if states["GPU-double"] != api.StateResident || states["cpu"] != api.StateResident {
		t.Errorf("states are %v", states)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// statusOf is the status of a refusal, 0 of anything else.
func statusOf(err error) int {
	if refused := (*api.Error)(nil); errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

func TestWaitAndRefuse(t *testing.T) {
	c, stop := startIn(t, socketDir(t), bothEngines(t, "GPUSHIM_DOUBLE_BUILD_MS=300")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4, Fallback: "refuse"}); refused != "" {
		t.Fatal(refused)
	}
	_, _, err := inferScale(t, c, api.Call{}, 2)
	refused := (*api.Error)(nil)
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || refused.RetryAfter <= 0 || !strings.Contains(refused.Message, "not built yet: fp16, batch 4") {
		t.Errorf("refused with %v", err)
	}
	if ready, _ := c.ModelReady(t.Context(), "m", ""); ready {
		t.Error("a model that only a GPU may answer is ready before it is built")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := c.Infer(ctx, api.Call{Model: "m", Fallback: "wait"}, scaleInput(2)); err == nil {
		t.Error("a request did not wait")
	}
	_, info, err := inferScale(t, c, api.Call{Fallback: "wait"}, 2)
	if err != nil || info.Engine != "tensorrt" || info.Queue == 0 {
		t.Errorf("waited for %+v, %v", info, err)
	}
	if _, info, err := inferScale(t, c, api.Call{}, 2); err != nil || info.Engine != "tensorrt" {
		t.Errorf("%+v, %v", info, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Without ONNX Runtime a function that would have the CPU waits.
func TestGPUAlone(t *testing.T) {
	c, stop := startIn(t, socketDir(t), bothEngines(t, "cpu_fallback=false", "onnxruntime_library=/none", "GPUSHIM_DOUBLE_BUILD_MS=100")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{}); refused != "" {
		t.Fatal(refused)
	}
	if _, info, err := inferScale(t, c, api.Call{}, 1); err != nil || info.Engine != "tensorrt" {
		t.Errorf("%+v, %v", info, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// What cannot be built says why, and the CPU goes on answering.
func TestBuildFails(t *testing.T) {
	for how, says := range map[string]string{"bad_model": "bad_model", "failed": "is failed", "abort": "abort"} {
		t.Run(how, func(t *testing.T) {
			c, stop := startIn(t, socketDir(t), bothEngines(t, "GPUSHIM_DOUBLE_BUILD_FAIL="+how)...)
			if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{Precisions: []string{"fp32"}}); refused != "" {
				t.Fatal(refused)
			}
			var reason, retry string
			for deadline := time.Now().Add(20 * time.Second); reason == ""; time.Sleep(2 * time.Millisecond) {
				st, err := c.Cache(t.Context())
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("no failure is shown: %+v, %v", st, err)
				}
				for _, i := range st.Models[0].Instances {
					if i.State == api.StateFailed {
						reason, retry = i.Reason, i.RetryAt
					}
				}
			}
			if !strings.Contains(reason, says) || !strings.Contains(reason, "fp32") || retry == "" {
				t.Errorf("failed with %q, again at %q", reason, retry)
			}
			if _, info, err := inferScale(t, c, api.Call{}, 1); err != nil || info.Cache != api.CacheFallback {
				t.Errorf("%+v, %v", info, err)
			}
			if _, _, err := inferScale(t, c, api.Call{Fallback: "refuse"}, 1); statusOf(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), says) {
				t.Errorf("refused with %v", err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A plan that was built is there after a restart: nothing is built again.
func TestRestartKeepsPlans(t *testing.T) {
	dir := socketDir(t)
	c, stop := startIn(t, dir, bothEngines(t)...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{MaxBatch: 4}); refused != "" {
		t.Fatal(refused)
	}
	want := awaitEngine(t, c, "tensorrt")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, stop = startIn(t, dir, bothEngines(t, "GPUSHIM_DOUBLE_BUILD_FAIL=abort")...)
	if got := awaitEngine(t, c, "tensorrt"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A plan for another TensorRT is refused in words, and so is one where there is no
// GPU.
func TestForeignPlans(t *testing.T) {
	plan := planOf(t, scaleModel(t, 1))
	c, stop := startIn(t, socketDir(t), gpuEnviron(t, "allow_plans=true")...)
	if refused := offerOne(t, c, "plan", foreign(plan), api.ModelConfig{}); refused != "" {
		t.Fatal(refused)
	}
	if _, _, err := inferScale(t, c, api.Call{}, 1); err == nil || !strings.Contains(err.Error(), "another version") || !strings.Contains(err.Error(), "kind of GPU") {
		t.Errorf("got %v", err)
	}
	if st, err := c.Cache(t.Context()); err != nil || len(st.Models[0].Instances) != 1 || st.Models[0].Instances[0].State != api.StateFailed {
		t.Errorf("%+v, %v", st.Models, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}

	c, stop = start(t, "allow_plans=true")
	if refused := offerOne(t, c, "plan", plan, api.ModelConfig{}); !strings.Contains(refused, "engine=cpu") {
		t.Errorf("refused with %q", refused)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Without a GPU the node begins if the CPU can stand in, and says so.
func TestNoGPU(t *testing.T) {
	c, stop := startIn(t, socketDir(t), bothEngines(t, "gpushim_library=/none/libgpushim.so", "allow_plans=true")...)
	if refused := offerOne(t, c, "onnx", scaleModel(t, 1), api.ModelConfig{}); refused != "" {
		t.Fatal(refused)
	}
	if _, info, err := inferScale(t, c, api.Call{}, 1); err != nil || info.Cache != api.CacheFallback {
		t.Errorf("%+v, %v", info, err)
	}
	if _, _, err := inferScale(t, c, api.Call{Fallback: "refuse"}, 1); statusOf(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "/none/libgpushim.so") {
		t.Errorf("refused with %v", err)
	}
	if refused := offerOne(t, c, "plan", planOf(t, scaleModel(t, 1)), api.ModelConfig{}); !strings.Contains(refused, "/none/libgpushim.so") {
		t.Errorf("a plan was refused with %q", refused)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}

	var said bytes.Buffer
	err := run(t.Context(), nil, bothEngines(t, "gpushim_library=/none/libgpushim.so", "cpu_fallback=false", "auth=none"), &said, &said)
	if err == nil || !strings.Contains(err.Error(), "/none/libgpushim.so") {
		t.Errorf("without a GPU and without ONNX Runtime: %v", err)
	}
	err = run(t.Context(), nil, bothEngines(t, "onnxruntime_library=/none/libonnxruntime.so", "auth=none"), &said, &said)
	if err == nil || !strings.Contains(err.Error(), "cpu_fallback=false") {
		t.Errorf("without ONNX Runtime: %v", err)
	}
}

func TestCheckGPU(t *testing.T) {
	var said bytes.Buffer
	if err := run(t.Context(), []string{checkGPU}, gpuEnviron(t), &said, &said); err != nil || !strings.Contains(said.String(), "GPU-double driver double") {
		t.Errorf("%v: %s", err, &said)
	}
	if err := run(t.Context(), []string{checkGPU}, []string{"gpushim_library=/none"}, &said, &said); err == nil {
		t.Error("a GPU was found")
	}
}
