package docker

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dockercontainer "github.com/docker/docker/api/types/container"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func dedicatedDeployment(name string, replicas int) runtime.Deployment {
	d := deployment(name, replicas)
	d.Environment = map[string]string{"cachemgr_mode": "child"}
	return d
}

// TestDedicated: each replica has a GPU that no other has, also after a restart,
// and what finds none is refused.
func TestDedicated(t *testing.T) {
	d, dir := newFakeDaemon(), t.TempDir()
	two := func(c *Config) { c.GPUs = []string{"GPU-a", "GPU-b"} }
	r := openFake(t, d, dir, two)
	refused := func(err error) {
		t.Helper()
		if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), "of 2 are free") {
			t.Errorf("got %v, want ErrInvalid that counts the GPUs", err)
		}
	}
	refused(r.Create(t.Context(), dedicatedDeployment("f", 3)))
	create(t, r, dedicatedDeployment("f", 1))
	create(t, r, deployment("shared", 3))
	await(t, r, "f", replicas(1))
	await(t, r, "shared", replicas(3))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openFake(t, d, dir, two)
	create(t, r, dedicatedDeployment("g", 1))
	await(t, r, "g", replicas(1))
	refused(r.Create(t.Context(), dedicatedDeployment("h", 1)))
	refused(r.Scale(t.Context(), deployment("f", 0).ID, 2))
	refused(r.Update(t.Context(), dedicatedDeployment("shared", 3)))
	var given []string
	for _, c := range d.all() {
		shared := strings.HasPrefix(c.Name, "shared")
		if shared != (c.spec.GPU == nil) || shared != slices.Contains(c.spec.Mounts, bind{filepath.Dir(r.config.CachemgrSocket), socketDir}) {
			t.Errorf("%s: GPU %v, mounts %v", c.Name, c.spec.GPU, c.spec.Mounts)
		}
		if c.spec.GPU != nil {
			given = append(given, c.spec.GPU.Device)
			if !slices.Contains(c.spec.Env, "cachemgr_mode=child") {
				t.Errorf("%s: environment %q", c.Name, c.spec.Env)
			}
		}
	}
	slices.Sort(given)
	if !slices.Equal(given, []string{"GPU-a", "GPU-b"}) {
		t.Errorf("GPUs %q were given", given)
	}
	if err := r.Delete(t.Context(), deployment("g", 0).ID); err != nil {
		t.Fatal(err)
	}
	f := dedicatedDeployment("f", 1)
	if err := r.Update(t.Context(), f); err != nil { // finds the GPU that is free now, or makes room
		t.Fatal(err)
	}
	await(t, r, "f", func(f *runtime.Function) bool {
		return len(f.Replicas) > 0 && strings.Contains(f.Replicas[len(f.Replicas)-1].ID, ".2-")
	})
}

// TestDedicatedUpdateMakesRoom: where no GPU is left for a new replica, one of the
// former deployment leaves first.
func TestDedicatedUpdateMakesRoom(t *testing.T) {
	d := newFakeDaemon()
	r := openFake(t, d, t.TempDir(), func(c *Config) { c.GPUs = []string{"GPU-a"}; c.GPUDriver = "cdi" })
	f := dedicatedDeployment("f", 1)
	create(t, r, f)
	old := await(t, r, "f", replicas(1)).Replicas[0].ID
	if err := r.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	await(t, r, "f", func(f *runtime.Function) bool { return len(f.Replicas) == 1 && f.Replicas[0].ID != old })
	all := d.all()
	if last := all[len(all)-1]; last.spec.GPU == nil || *last.spec.GPU != (gpuRequest{"cdi", "nvidia.com/gpu=GPU-a"}) {
		t.Errorf("the new replica asks for %+v", last.spec.GPU)
	}
}

// TestDeviceRequest: what the daemon is asked, in its words.
func TestDeviceRequest(t *testing.T) {
	for _, c := range []struct {
		gpu  gpuRequest
		want dockercontainer.DeviceRequest
	}{
		{gpuRequest{"nvidia", "GPU-a"}, dockercontainer.DeviceRequest{Driver: "nvidia", DeviceIDs: []string{"GPU-a"}, Capabilities: [][]string{{"gpu"}}}},
		{gpuRequest{"cdi", "nvidia.com/gpu=GPU-a"}, dockercontainer.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=GPU-a"}}},
	} {
		_, host := request(containerSpec{GPU: &c.gpu})
		if len(host.DeviceRequests) != 1 {
			t.Fatalf("%+v: requests %+v", c.gpu, host.DeviceRequests)
		}
		got := host.DeviceRequests[0]
		if got.Driver != c.want.Driver || got.Count != 0 || !slices.Equal(got.DeviceIDs, c.want.DeviceIDs) ||
			!slices.EqualFunc(got.Capabilities, c.want.Capabilities, slices.Equal) {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}
