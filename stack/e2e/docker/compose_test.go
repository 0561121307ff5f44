package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// Variables and names of what runs from compose.yaml.
const (
	composeVariable    = "DOCKER_COMPOSE" // the program docker-compose
	prometheusVariable = "PROMETHEUS"     // the program; promtool is beside it
	composeName        = "faas-gpu-e2e-compose"
	composeProvider    = "http://127.0.0.1:8081"
	composePrometheus  = "http://127.0.0.1:9090"
)

// composed is an installation that compose.yaml describes.
type composed struct {
	program, source, dir string
	environ              []string
}

// compose runs a node from compose.yaml, without Grafana, for which there is no image
// here: the function digits answers, through the gateway too, and after the cache
// manager was killed; and Prometheus reads the programs.
func compose(t *testing.T, l *lab.Lab) {
	c := newComposed(t, l)
	if c == nil {
		return
	}
	for _, files := range [][]string{nil, {"--file", "stack/compose/gpu.yaml"}} {
		if out, err := c.run(t.Context(), append(files, "--profile", "gateway", "config", "--quiet")...); err != nil {
			t.Fatalf("%v is not valid: %v\n%s", files, err, out)
		}
	}
	c.up(t)
	password, err := os.ReadFile(filepath.Join(c.dir, "secrets", "basic-auth-password"))
	if err != nil {
		t.Fatal(err)
	}
	node := lab.At(composeProvider, "admin", string(password))
	t.Cleanup(func() {
		if err := node.RemoveAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := node.Deploy(t.Context(), types.FunctionDeployment{Service: "digits", Image: "digits:latest"}); err != nil {
		t.Fatal(err)
	}
	d := &digitsFunction{lab: node}
	d.learn(t)
	within := func(do func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := lab.Poll(ctx, func() error { return do(ctx) }); err != nil {
			t.Error(err)
		}
	}
	within(func(ctx context.Context) error {
		gateway := lab.At(lab.GatewayURL, "admin", string(password))
		if fns, err := gateway.List(ctx); err != nil || len(fns) != 1 {
			return fmt.Errorf("the gateway lists %v, %w", fns, err)
		}
		a, err := gateway.Invoke(ctx, "digits", "", d.bodies[0])
		if err == nil && !bytes.Equal(a.Body, d.answers[0]) {
			err = fmt.Errorf("through the gateway the answer is %d %s", a.Status, a.Body)
		}
		return err
	})
	c.crash(t, "cachemgr")
	for i := range 5 {
		if status, right := d.ask(t.Context(), "digits", i); status != http.StatusOK || !right {
			t.Errorf("after the cache manager was killed the answer is %d, right: %v", status, right)
		}
	}
	for _, query := range []string{
		"sum(up) == 2", "sum(faas_gpu_function_invocations_total) > 5", "sum(nv_inference_request_success) >= 5", `faas_gpu_models{state="resident"} == 1`,
	} {
		within(func(ctx context.Context) error { return holds(ctx, query) })
	}
}

// newComposed prepares the installation in a folder of its own; nil: something is
// missing.
func newComposed(t *testing.T, l *lab.Lab) *composed {
	t.Helper()
	c := &composed{program: os.Getenv(composeVariable), source: l.Source}
	prometheus := os.Getenv(prometheusVariable)
	for name, program := range map[string]string{composeVariable: c.program, prometheusVariable: prometheus} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s=%q is no program (Debian: docker-compose, prometheus)", name, program)
			return nil
		}
	}
	dir, err := os.MkdirTemp("", "e2e-") // short: it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.CommandContext(t.Context(), "sh", filepath.Join(l.Source, "stack/compose/secrets.sh"), filepath.Join(dir, "secrets")).CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
	// Programs are where the images of their makers have them.
	c.image(t, composeName+"-prometheus", "COPY prometheus promtool /bin/\nENTRYPOINT [\"/bin/prometheus\"]\n",
		prometheus, filepath.Join(filepath.Dir(prometheus), "promtool"))
	gateway := os.Getenv(gatewayVariable)
	c.image(t, composeName+"-gateway", "WORKDIR /home/app\nCOPY . .\nCMD [\"./gateway\"]\n",
		gateway, filepath.Join(filepath.Dir(gateway), "assets"))
	c.environ = append(os.Environ(), "DOCKER_HOST="+os.Getenv(hostVariable), "DOCKER_SOCKET="+strings.TrimPrefix(os.Getenv(hostVariable), "unix://"),
		"COMPOSE_PROJECT_NAME="+composeName, "DOCKER_NAME="+composeName, "PROMETHEUS_IMAGE="+composeName+"-prometheus", "GATEWAY_IMAGE="+composeName+"-gateway",
		"STATE_DIR="+dir+"/state", "SOCKET_DIR="+dir+"/run", "SECRETS_DIR="+dir+"/secrets",
		"DEVICE_BUDGET=64Mi", "HOST_BUDGET=64Mi", "GPUSHIM_DIR="+dir, "TENSORRT_IMAGE=none")
	return c
}

// image makes an image of files and folders of this machine, on the one that has the
// C library. More is lines of its recipe.
func (c *composed) image(t *testing.T, name, more string, paths ...string) {
	t.Helper()
	dir, err := os.MkdirTemp(c.dir, "image-*")
	for _, path := range paths {
		if err == nil {
			err = copyPath(filepath.Join(dir, filepath.Base(path)), path)
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM "+os.Getenv(runtimeVariable)+"\n"+more), 0o644)
	}
	if err == nil {
		_, err = docker(t.Context(), "build", "--quiet", "--tag", name, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyPath copies a program or a folder, also behind a link.
func copyPath(to, from string) error {
	path, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(path))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// run runs docker-compose with the files of the checkout; what begins with --file
// comes after compose.yaml.
func (c *composed) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.program, append([]string{"--file", "compose.yaml"}, args...)...)
	cmd.Dir, cmd.Env = c.source, c.environ
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// up starts the node; the test's end removes it, and what it has stored.
func (c *composed) up(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		logs, _ := c.run(context.Background(), "--profile", "gateway", "logs", "--no-color", "--tail", "50")
		out, err := c.run(context.Background(), "--profile", "gateway", "down", "--volumes")
		_, networkErr := docker(context.Background(), "network", "rm", composeName)
		if err != nil || networkErr != nil {
			t.Errorf("down: %v %v\n%s", err, networkErr, out)
		}
		if t.Failed() {
			t.Log(logs)
		}
	})
	if out, err := c.run(t.Context(), "--profile", "gateway", "up", "--detach", "--no-build", "gateway", "provider", "cachemgr", "prometheus"); err != nil {
		t.Fatalf("up: %v\n%s", err, out)
	}
	for _, service := range []string{"provider", "cachemgr", "prometheus"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := lab.Poll(ctx, func() error {
			out, err := docker(ctx, "inspect", "--format", "{{.State.Health.Status}}", composeName+"_"+service+"_1")
			if err == nil && out != "healthy" {
				err = fmt.Errorf("%s is %s", service, out)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// crash kills the process of a service, and waits until Docker has started it again.
func (c *composed) crash(t *testing.T, service string) {
	t.Helper()
	name := composeName + "_" + service + "_1"
	out, err := docker(t.Context(), "inspect", "--format", "{{.State.Pid}}", name)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(out)
	if err != nil || pid <= 1 {
		t.Fatalf("%s has the process %q", name, out)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = lab.Poll(ctx, func() error {
		out, err := docker(ctx, "inspect", "--format", "{{.RestartCount}} {{.State.Running}}", name)
		if err == nil && out != "1 true" {
			err = fmt.Errorf("%s was restarted and runs: %s", name, out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// holds asks Prometheus for a condition.
func holds(ctx context.Context, query string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, composePrometheus+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []any }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if len(answer.Data.Result) == 0 {
		return fmt.Errorf("%s does not hold: %s %s", query, resp.Status, answer.Error)
	}
	return nil
}
