package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// gpus is an engine with GPUs of these kinds.
func gpus(t *testing.T, kinds ...string) *testengine.Engine {
	e := testengine.New(t.Errorf)
	e.List = nil
	for i, kind := range kinds {
		e.List = append(e.List, engine.Device{
			ID: engine.DeviceID("gpu" + string(rune('0'+i))), Name: kind, Kind: "cuda", TotalBytes: 1000, FreeBytes: 1000,
		})
	}
	return e
}

// withGPU is a configuration with GPUs beside the CPU.
func (s site) withGPU(t *testing.T, gpu engine.Engine) Config {
	c := s.config(testengine.New(t.Errorf))
	c.GPU.Engine = gpu
	c.GPU.Build.Program = "/no/such/gpushim-build"
	c.GPU.Build.Quota, c.GPU.Build.Timeout = 1<<20, time.Minute
	return c
}

func TestBothEngines(t *testing.T) {
	s := newSite(t)
	c := s.withGPU(t, gpus(t, "H200", "H200"))
	c.GPU.CPUBudget, c.GPU.CPUHostBudget, c.GPU.Concurrency = 30, 40, 3
	n := start(t, c)
	st := n.engines.router.Status()
	if len(st.Devices) != 3 || st.Devices[0].ID != "gpu0" || st.Devices[2].ID != "cpu" || st.Host.Budget != 540 {
		t.Errorf("%+v", st)
	}
	if g, c := st.Devices[0], st.Devices[2]; g.Budget != 250 || g.Slots != 3 || c.Budget != 30 || c.Slots != 1 {
		t.Errorf("budgets are %+v, %+v", g, c)
	}
	if c.platform() != "test_onnx" || c.noPlans() != nil {
		t.Errorf("platform %s, plans: %v", c.platform(), c.noPlans())
	}
	select {
	case <-n.Lost():
		t.Error("lost")
	default:
	}
	shutdown(t, n)
	shutdown(t, start(t, c)) // also the folder of plans was given up
}

func TestStandInShare(t *testing.T) {
	c := Config{DeviceBudget: 5, HostBudget: 6, Concurrency: 7}
	if s := c.cpuShare(); s != (share{nil, 5, 6, 7}) {
		t.Errorf("alone it has %+v", s)
	}
	c.GPU.Missing = errors.New("none")
	if s := c.cpuShare(); s.deviceBudget != 2*(hostBytes(nil)/10) || s.hostBudget != hostBytes(nil)/10 || s.concurrency != 7 {
		t.Errorf("beside GPUs it has %+v", s)
	}
}

func TestGPUsThatDoNotStart(t *testing.T) {
	for name, tt := range map[string]struct {
		gpu  *testengine.Engine
		says string
	}{
		"two kinds": {gpus(t, "H200", "A100"), `"H200" and "A100"`},
		"none":      {gpus(t), "shows none"},
		"error":     {&testengine.Engine{Errorf: t.Errorf, ListError: engine.ErrDeviceLost}, "device lost"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if got := startFails(t, s.withGPU(t, tt.gpu)); !strings.Contains(got, tt.says) {
				t.Errorf("it says %q, want %q", got, tt.says)
			}
			shutdown(t, start(t, s.withGPU(t, gpus(t, "H200")))) // nothing was left open
		})
	}
}

// The folder of plans belongs to the store's; a builder that is missing is shown.
func TestBuilderIsMissing(t *testing.T) {
	s := newSite(t)
	c := s.withGPU(t, gpus(t, "H200"))
	cpu := s.engine(t, "a")
	c.Engine = cpu
	n := start(t, c)
	alice := s.client(t, "alice")
	bring(t, alice, "a")
	if found, err := s.infer(alice, "a", []byte{1}); err != nil || found != api.CacheFallback {
		t.Errorf("a %s, %v", found, err)
	}
	waitFor(t, func() bool {
		for _, i := range n.engines.router.Status().Models[digest("a")].Instances {
			if i.Device == "gpu0" && i.State == api.StateFailed {
				return strings.Contains(i.Reason, "/no/such/gpushim-build")
			}
		}
		return false
	})
	if _, err := os.Stat(filepath.Join(s.dir, "store", "plans", "lock")); err != nil {
		t.Error(err)
	}
	shutdown(t, n)
}

func TestBuildGPU(t *testing.T) {
	s := newSite(t)
	n := start(t, s.withGPU(t, gpus(t, "H200")))
	defer shutdown(t, n)
	g := buildGPU{n.engines.gpu, "gpu0"}
	before, busy := g.Activity()
	if busy {
		t.Error("busy without a request")
	}
	release, err := g.Reserve(context.Background(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := g.Activity(); after == before || n.engines.gpu.Status().Devices[0].Reserved != 100 {
		t.Error("nothing was set aside")
	}
	release()
	if n.engines.gpu.Status().Devices[0].Reserved != 0 {
		t.Error("it is still set aside")
	}
}
