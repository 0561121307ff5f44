package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// cli is faas-cli in a folder of its own.
type cli struct {
	t   *testing.T
	dir string
	url string
}

// newCLI logs in at a gateway or provider.
func newCLI(t *testing.T, l *lab.Lab, url string) *cli {
	t.Helper()
	c := &cli{t: t, dir: t.TempDir(), url: url}
	// git refuses to clone a checkout that belongs to somebody else.
	if err := os.WriteFile(filepath.Join(c.dir, "gitconfig"), []byte("[safe]\n\tdirectory = \"*\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(l.Password, "login", "--password-stdin")
	return c
}

// try runs a command in the environment of a person who has Docker here.
func (c *cli) try(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), os.Getenv(cliVariable), args...)
	cmd.Dir = c.dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+os.Getenv(hostVariable), "OPENFAAS_URL="+c.url,
		"GIT_CONFIG_GLOBAL="+filepath.Join(c.dir, "gitconfig"), "HOME="+c.dir, "OPENFAAS_CONFIG="+c.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cli) run(stdin string, args ...string) string {
	c.t.Helper()
	out, err := c.try(stdin, args...)
	if err != nil {
		c.t.Fatalf("faas-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// up scaffolds a function of a template, with the files of a folder over its own,
// and builds and deploys it. Images of this machine stand in for those of a
// registry.
func (c *cli) up(l *lab.Lab, template, name, files string) {
	c.t.Helper()
	if _, err := os.Stat(filepath.Join(c.dir, "template")); err != nil {
		c.run("", "template", "pull", l.Source)
	}
	scaffold := []string{"new", "--lang", template, name}
	if _, err := os.Stat(filepath.Join(c.dir, "stack.yaml")); err == nil {
		scaffold = append(scaffold, "--append", "stack.yaml")
	}
	c.run("", scaffold...)
	if files != "" {
		handler, err := os.ReadFile(filepath.Join(files, "handler.go"))
		if err == nil {
			err = os.WriteFile(filepath.Join(c.dir, name, "handler.go"), handler, 0o644)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.run("", "up", "--skip-push", "-f", "stack.yaml", "--filter", name,
		"--build-arg", "RUNTIME_IMAGE="+os.Getenv(runtimeVariable), "--build-arg", "PYTHON_IMAGE="+os.Getenv(runtimeVariable))
	if err := l.Ready(c.t.Context(), name); err != nil {
		c.t.Fatal(err)
	}
}

// faasCLI does what a person does, with a function of each template. digits stays.
func faasCLI(t *testing.T, l *lab.Lab) {
	c := newCLI(t, l, l.URL)
	scan := scans(t)[0]
	c.up(l, "go-trt", "digits", "")
	if out := c.run(picture(t, scan), "invoke", "digits"); !strings.Contains(out, `"class"`) {
		t.Errorf("faas-cli invoke: %s", out)
	}
	if out := c.run("", "list"); !strings.Contains(out, "digits") {
		t.Errorf("faas-cli list: %s", out)
	}
	if out := c.run("", "logs", "digits", "--tail=false", "--instance"); !strings.Contains(out, "digits.openfaas-fn.1-") {
		t.Errorf("faas-cli logs names no replica: %s", out)
	}
	for template, answers := range map[string]string{"python-trt": `"class"`, "trt-model": `"outputs"`} {
		c.up(l, template, template, "")
		example, err := os.ReadFile(filepath.Join(c.dir, template, "digit.json"))
		if err != nil {
			t.Fatal(err)
		}
		if out := c.run(string(example), "invoke", template); !strings.Contains(out, answers) {
			t.Errorf("%s answers %s", template, out)
		}
		c.run("", "remove", template)
	}
}

// gateway does the same through the real gateway, with its password.
func gateway(t *testing.T, l *lab.Lab) {
	running, err := l.StartGateway(t.Context(), os.Getenv(gatewayVariable))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error("stop:", err)
		}
	})
	c := newCLI(t, l, lab.GatewayURL)
	c.up(l, "go-trt", "behind", "")
	for _, step := range []struct{ args, stdin, says string }{
		{"invoke behind", picture(t, scans(t)[0]), `"class"`},
		{"list", "", "behind"},
		{"describe behind", "", "Ready"},
		{"logs behind --tail=false", "", "POST"},
		{"deploy --image behind:latest --name behind --env again=1", "", "202"},
		{"remove behind", "", "Removing"},
	} {
		if out := c.run(step.stdin, strings.Fields(step.args)...); !strings.Contains(out, step.says) {
			t.Errorf("faas-cli %s printed %q, want %q in it", step.args, out, step.says)
		}
	}
	if out, err := newStranger(t, c).try("", "list"); err == nil && strings.Contains(out, "digits") {
		t.Errorf("without a password the functions are listed: %s", out)
	}
}

// newStranger is somebody who has not logged in.
func newStranger(t *testing.T, c *cli) *cli { return &cli{t: t, dir: t.TempDir(), url: c.url} }

func picture(t *testing.T, s digits.Scan) string {
	t.Helper()
	png, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	return string(png)
}
