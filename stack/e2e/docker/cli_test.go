package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// faasCLI makes, builds and deploys the example of go-trt as a person does.
func faasCLI(t *testing.T, l *lab.Lab) {
	dir := t.TempDir()
	// git refuses to clone a checkout that belongs to somebody else.
	gitConfig := filepath.Join(dir, "gitconfig")
	if err := os.WriteFile(gitConfig, []byte("[safe]\n\tdirectory = \"*\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cli := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Getenv(cliVariable), args...)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+os.Getenv(hostVariable), "OPENFAAS_URL="+l.URL,
			"GIT_CONFIG_GLOBAL="+gitConfig, "HOME="+dir, "OPENFAAS_CONFIG="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("faas-cli %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	cli(l.Password, "login", "--password-stdin")
	cli("", "template", "pull", l.Source)
	cli("", "new", "--lang", "go-trt", "digits")
	cli("", "up", "--skip-push", "-f", "stack.yaml", "--build-arg", "RUNTIME_IMAGE="+os.Getenv(runtimeVariable))
	if err := l.Ready(t.Context(), "digits"); err != nil {
		t.Fatal(err)
	}
	scan := scans(t)[0]
	picture, err := scan.PNG()
	if err != nil {
		t.Fatal(err)
	}
	if out := cli(string(picture), "invoke", "digits"); !strings.Contains(out, `"class"`) {
		t.Errorf("faas-cli invoke: %s", out)
	}
	if out := cli("", "list"); !strings.Contains(out, "digits") {
		t.Errorf("faas-cli list: %s", out)
	}
	if out := cli("", "logs", "digits", "--tail=false", "--instance"); !strings.Contains(out, "digits.openfaas-fn.1-") {
		t.Errorf("faas-cli logs names no replica: %s", out)
	}
}

// readOnly runs the function within limits and with a file system that cannot be
// written.
func readOnly(t *testing.T, d *digitsFunction) {
	f := d.deployment(nil)
	f.Service = "narrow"
	f.ReadOnlyRootFilesystem = true
	f.Limits = &types.FunctionResources{Memory: "128Mi", CPU: "64"} // more than there is
	f.Constraints = []string{"node.platform.os == linux"}
	if err := d.lab.Deploy(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if status, right := d.ask(t.Context(), "narrow", 0); status != 200 || !right {
		t.Errorf("status %d, right %v", status, right)
	}
	f.Service, f.Constraints = "elsewhere", []string{"node.hostname == nowhere"}
	if err := d.lab.Deploy(t.Context(), f); err == nil || !strings.Contains(err.Error(), "no node meets") {
		t.Errorf("a constraint that is not met: %v", err)
	}
	if err := d.lab.Remove(t.Context(), "narrow"); err != nil {
		t.Error(err)
	}
}
