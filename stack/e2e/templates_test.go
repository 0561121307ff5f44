package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestTemplates does with each template but go-trt, which `make demo` is about,
// what its README says: pull, scaffold, build, deploy and invoke with faas-cli.
func TestTemplates(t *testing.T) {
	program := os.Getenv("FAAS_CLI")
	if program == "" {
		t.Skip("FAAS_CLI names no program; `make deps` builds it")
	}
	l := start(t, lab.Options{})
	c := newCLI(t, l, program)
	c.run(l.Password, "login", "--password-stdin")
	c.run("", "template", "pull", l.Source)
	for lang, says := range map[string]string{"python-trt": `"class": 2`, "trt-model": `"probabilities"`} {
		t.Run(lang, func(t *testing.T) {
			c.t = t
			c.run("", "new", "--lang", lang, lang+"-fn")
			c.run("", "up", "--skip-push", "-f", "stack.yaml")
			must(t, os.Remove(filepath.Join(c.dir, "stack.yaml")))
			must(t, l.Ready(t.Context(), lang+"-fn"))
			input, err := os.ReadFile(filepath.Join(c.dir, lang+"-fn", "digit.json"))
			must(t, err)
			for range 2 {
				if out := c.run(string(input), "invoke", lang+"-fn"); !strings.Contains(out, says) {
					t.Errorf("invoke printed %q", out)
				}
			}
			if h := invoke(t, l, lang+"-fn", "", input).Header; h.Get(api.HeaderCache) != api.CacheHit {
				t.Errorf("the answer says %v", h)
			}
		})
	}
}

// cli runs faas-cli in a folder of its own, with our docker first on the PATH.
type cli struct {
	t            *testing.T
	program, dir string
	environ      []string
}

func newCLI(t *testing.T, l *lab.Lab, program string) *cli {
	t.Helper()
	c := &cli{t: t, program: program, dir: t.TempDir()}
	// git refuses to clone a checkout that belongs to somebody else.
	gitConfig := filepath.Join(c.dir, "gitconfig")
	must(t, os.WriteFile(gitConfig, []byte("[safe]\n\tdirectory = \"*\"\n"), 0o644))
	c.environ = append(os.Environ(), "PATH="+filepath.Dir(l.Docker)+":"+os.Getenv("PATH"), "OPENFAAS_URL="+l.URL,
		"OPENFAAS_CONFIG="+c.dir, "HOME="+c.dir, "GIT_CONFIG_GLOBAL="+gitConfig,
		"FAAS_GPU_IMAGES="+filepath.Join(l.Dir, "images"), "FAAS_GPU_WATCHDOG="+l.Watchdog)
	return c
}

// run returns what faas-cli printed, or fails the test.
func (c *cli) run(stdin string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, c.environ, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("faas-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestModelWithoutCode asks a function that is its model, as the protocol has it
// and as Triton's clients do.
func TestModelWithoutCode(t *testing.T) {
	l := start(t, lab.Options{})
	build(t, l, "model", "trt-model", "", nil)
	deploy(t, l, types.FunctionDeployment{Service: "model", Image: "model", EnvVars: map[string]string{"preload": "all"}})
	scan := scans(t)[0]
	body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{
		"name": "pixels", "datatype": "FP32", "shape": []int{1, 1, 8, 8}, "data": scan.Pixels,
	}}})
	must(t, err)
	for _, path := range []string{"", "/v2/models/digits/infer", "/v2/models/digits/versions/1/infer"} {
		a := invoke(t, l, "model", path, body)
		var answer struct {
			Outputs []struct{ Data []float32 }
		}
		if err := json.Unmarshal(a.Body, &answer); err != nil || a.Status != 200 || len(answer.Outputs) != 1 {
			t.Fatalf("%q: %d %s %v", path, a.Status, a.Body, err)
		}
		best := 0
		for i, p := range answer.Outputs[0].Data {
			if p > answer.Outputs[0].Data[best] {
				best = i
			}
		}
		if best != scan.Digit || a.Header.Get(api.HeaderCache) != api.CacheHit {
			t.Errorf("%q: a %d is taken for a %d, and the model was a %s", path, scan.Digit, best, a.Header.Get(api.HeaderCache))
		}
	}
	for path, want := range map[string]string{"": `"pixels"`, "/v2/models/digits": `"pixels"`, "/_/cache": `"digits"`} {
		resp, err := http.Get(l.URL + "/function/model" + path)
		must(t, err)
		var all json.RawMessage
		err = json.NewDecoder(resp.Body).Decode(&all)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(all), want) {
			t.Errorf("GET %q: %d %s %v", path, resp.StatusCode, all, err)
		}
	}
	var refused oip.ErrorBody
	if a := invoke(t, l, "model", "", []byte(`{"inputs":[]}`)); a.Status != 400 || json.Unmarshal(a.Body, &refused) != nil || refused.Error == "" {
		t.Errorf("no inputs: %d %s", a.Status, a.Body)
	}
}

// TestProcessPerRequest deploys any program as a function.
func TestProcessPerRequest(t *testing.T) {
	l := start(t, lab.Options{})
	build(t, l, "anything", "trt-model", "", nil)
	for _, mode := range []string{"streaming", "serializing"} {
		deploy(t, l, types.FunctionDeployment{Service: mode, Image: "anything", EnvProcess: "printenv Http_Method", EnvVars: map[string]string{"mode": mode}})
		if a := invoke(t, l, mode, "", []byte("x")); a.Status != 200 || string(a.Body) != "POST\n" {
			t.Errorf("%s: %d %q", mode, a.Status, a.Body)
		}
		if a := invoke(t, l, mode, "/v2/models/digits/infer", []byte(`{"inputs":[]}`)); a.Status != 400 {
			t.Errorf("%s: its models answer %d %s", mode, a.Status, a.Body)
		}
	}
}
