package docker

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// ownCache is an image of the function digits with a cache manager of its own.
const ownCache = `FROM faas-gpu/cachemgrd:latest AS cachemgrd
FROM digits:latest
COPY --from=cachemgrd /usr/bin/cachemgrd /usr/bin/cachemgrd
COPY --from=cachemgrd /usr/lib/onnxruntime /usr/lib/onnxruntime
ENV onnxruntime_library=/usr/lib/onnxruntime/libonnxruntime.so cachemgr_mode=child
`

// child runs a function that starts a cache manager in its own container, which
// has no GPU.
func child(t *testing.T, d *digitsFunction) {
	build := exec.CommandContext(t.Context(), "docker", "build", "--quiet", "--tag", "own-cache", "-")
	build.Stdin = strings.NewReader(ownCache)
	build.Env = append(os.Environ(), "DOCKER_HOST="+os.Getenv(hostVariable))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := d.deployment(map[string]string{"threads": "1"})
	f.Service, f.Image = "own-cache", "own-cache:latest"
	if err := d.lab.Deploy(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if status, right := d.ask(t.Context(), f.Service, 0); status != http.StatusOK || !right {
		t.Errorf("status %d, right %v", status, right)
	}
	status, err := d.lab.NodeStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range status.Models {
		for _, name := range m.Names {
			if name.Function.Name == f.Service {
				t.Error("the node's cache manager knows the function")
			}
		}
	}
	if err := d.lab.Remove(t.Context(), f.Service); err != nil {
		t.Error(err)
	}
}
