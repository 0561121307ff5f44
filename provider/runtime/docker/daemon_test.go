package docker

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// get asks a replica of testImage.
func get(t *testing.T, r runtime.Replica, path string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(r.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v: %s", path, res.Status, err, body)
	}
	return string(body)
}

func readyOnes(n int) func(*runtime.Function) bool {
	return func(f *runtime.Function) bool {
		for _, r := range f.Replicas {
			if !r.Ready {
				return false
			}
		}
		return len(f.Replicas) == n
	}
}

// startOne opens a runtime with one ready function f of an image.
func startOne(t *testing.T, config Config, image string, change func(*runtime.Deployment)) (*Runtime, runtime.Replica) {
	t.Helper()
	r := start(t, config)
	t.Cleanup(func() { finish(t, r) })
	d := deployment("f", 1)
	d.Request.Image = image
	if change != nil {
		change(&d)
	}
	create(t, r, d)
	return r, await(t, r, "f", readyOnes(1)).Replicas[0]
}

// TestContainerAsAsked: the daemon has what the deployment asks for, within what
// the machine has.
func TestContainerAsAsked(t *testing.T) {
	config := testInstallation(t)
	r, replica := startOne(t, config, testImage, func(d *runtime.Deployment) {
		d.Request.ReadOnlyRootFilesystem = true
		d.Limits = runtime.Resources{MemoryBytes: 64 << 20, MilliCPU: 1000 << 10}
		d.StopTimeout = 1500 * time.Millisecond
	})
	e := r.daemon.(*engine)
	c, err := e.api.ContainerInspect(t.Context(), replica.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c.HostConfig.Memory != 64<<20 || c.HostConfig.NanoCPUs != int64(r.node.CPUs)*1e9 || !c.HostConfig.ReadonlyRootfs || *c.Config.StopTimeout != 2 {
		t.Errorf("memory %d, CPUs %d, read-only %v, stop timeout %d s", c.HostConfig.Memory, c.HostConfig.NanoCPUs, c.HostConfig.ReadonlyRootfs, *c.Config.StopTimeout)
	}
	if c.State.Health != nil && c.State.Health.Status != "none" {
		t.Errorf("the image's health check runs: %+v", c.State.Health)
	}
	for _, m := range c.Mounts {
		if m.RW && m.Destination != "/tmp" {
			t.Errorf("the container can write to %s", m.Destination)
		}
	}
	u, err := e.Usage(t.Context(), c.ID)
	if err != nil || u.MemoryBytes <= 0 || u.MemoryBytes > 64<<20 || u.CPU <= 0 || u.At.IsZero() {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// TestSecretsOfAnotherUser: the program of an image that is not run by root can
// read its secrets.
func TestSecretsOfAnotherUser(t *testing.T) {
	for user, mode := range map[string]string{"65532:65532": "-rw-------", "app": "-r--r--r--"} {
		r := start(t, testInstallation(t))
		t.Cleanup(func() { finish(t, r) })
		if r.node.RemapsUsers {
			mode = "-r--r--r--"
		}
		if err := r.CreateSecret(t.Context(), runtime.DefaultNamespace, "key", []byte("value")); err != nil {
			t.Fatal(err)
		}
		d := deployment("f", 1)
		d.Request.Image, d.Request.Secrets = importAs(t, user), []string{"key"}
		create(t, r, d)
		replica := await(t, r, "f", readyOnes(1)).Replicas[0]
		if got := get(t, replica, "/secret/key"); got != mode+" value" {
			t.Errorf("user %s: the secret is %q", user, got)
		}
	}
}

// importAs makes an image of testImage's program with another user.
func importAs(t *testing.T, user string) string {
	t.Helper()
	e := testEngine(t)
	from, err := e.api.ContainerCreate(t.Context(), &dockercontainer.Config{Image: testImage}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.api.ContainerRemove(context.Background(), from.ID, dockercontainer.RemoveOptions{Force: true})
	files, err := e.api.ContainerExport(t.Context(), from.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	name := "faas-gpu-test/replica-of-" + strings.ReplaceAll(user, ":", "-") + ":latest"
	answer, err := e.api.ImageImport(t.Context(), image.ImportSource{Source: files, SourceName: "-"}, name, image.ImportOptions{
		Changes: []string{`ENTRYPOINT ["/app/replica"]`, "ENV RUNTIMETEST_REPLICA=1", "USER " + user},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestTokenIsRenewed: a running container sees each new token, and one that was
// adopted does too.
func TestTokenIsRenewed(t *testing.T) {
	config := testInstallation(t)
	var count atomic.Int64
	config.Tokens = func(runtime.ID, string) (runtime.Token, error) {
		return runtime.Token{Value: fmt.Append(nil, count.Add(1)), Expires: time.Now().Add(time.Second)}, nil
	}
	r := start(t, config)
	d := deployment("f", 1)
	d.Request.Image = testImage
	create(t, r, d)
	replica := await(t, r, "f", readyOnes(1)).Replicas[0]
	newer := func(than string) string {
		t.Helper()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got := get(t, replica, "/secret/"+runtime.TokenFile); got != than {
				return got
			}
		}
		t.Fatalf("the token is still %q", than)
		return ""
	}
	second := newer(newer(""))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = start(t, config)
	newer(second)
	finish(t, r)
}

// TestPullFromARegistry: an image that is not on the machine is brought from a
// registry, and what is wrong with it is said.
func TestPullFromARegistry(t *testing.T) {
	config := testInstallation(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	e := testEngine(t)
	host := strings.TrimPrefix(server.URL, "http://")
	pushed := host + "/replica:1"
	if err := e.api.ImageTag(t.Context(), testImage, pushed); err != nil {
		t.Fatal(err)
	}
	answer, err := e.api.ImagePush(t.Context(), pushed, image.PushOptions{RegistryAuth: "e30="}) // {}
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if err := readPull(answer, func(string) {}); err != nil {
		t.Fatal(err)
	}
	remove := func() {
		if _, err := e.api.ImageRemove(context.Background(), pushed, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
	remove()
	defer remove()
	r := start(t, config)
	t.Cleanup(func() { finish(t, r) })
	d := deployment("f", 1)
	d.Request.Image = pushed
	create(t, r, d)
	replica := await(t, r, "f", readyOnes(1)).Replicas[0]
	d.Request.Image = host + "/unknown:1"
	if err := r.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	awaitProblem(t, r, "f", "unknown:1 is not here and cannot be pulled")
	get(t, replica, "/version") // the former stays
}

// TestNeighbours: two installations at one daemon do not see each other.
func TestNeighbours(t *testing.T) {
	a, b := testInstallation(t), testInstallation(t)
	first, replica := startOne(t, a, testImage, nil)
	second, other := startOne(t, b, testImage, nil)
	if replica.URL == other.URL || len(first.Snapshot().Functions) != 1 || len(second.Snapshot().Functions) != 1 {
		t.Errorf("%+v and %+v", replica, other)
	}
	if err := second.Delete(t.Context(), runtime.ID{Namespace: runtime.DefaultNamespace, Name: "f"}); err != nil {
		t.Fatal(err)
	}
	get(t, replica, "/version")
}
