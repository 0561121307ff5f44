package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// refusals deploys what cannot run here. Whoever deploys is told why, and nothing
// else changes.
func refusals(t *testing.T, d *digitsFunction) {
	c := newCLI(t, d.lab, d.lab.URL)
	for _, refused := range []struct{ args, says string }{
		{"--constraint node.hostname==nowhere", "no node meets"},
		{"--label com.openfaas.scale.factor=0", "com.openfaas.scale.factor"},
		{"--annotation com.openfaas.gpu.mode=dedicated", "GPUs are needed"},
		{"--memory-request 900Ti", "900Ti"},
		{"--secret none", "none"},
	} {
		args := append([]string{"deploy", "--image", "digits:latest", "--name", "refused"}, strings.Fields(refused.args)...)
		if out, err := c.try("", args...); err == nil || !strings.Contains(out, refused.says) {
			t.Errorf("faas-cli %v: %v, want %q in:\n%s", args, err, refused.says, out)
		}
	}
	// Also of an update, which leaves the function as it was.
	if out, err := c.try("", "deploy", "--image", "digits:latest", "--name", "digits", "--constraint", "node.hostname==nowhere"); err == nil {
		t.Errorf("an update that is refused: %s", out)
	}
	if status, right := d.ask(t.Context(), "digits", 0); status != http.StatusOK || !right {
		t.Errorf("after an update that was refused: status %d, right %v", status, right)
	}
	functions, err := d.lab.List(t.Context())
	if err != nil || len(functions) != 1 {
		t.Errorf("there are %v, %v", functions, err)
	}
}

// missingImage deploys an image that is nowhere: whoever asks is told.
func missingImage(t *testing.T, l *lab.Lab) {
	const image = "127.0.0.1:9/nothing:1"
	system(t, l, http.MethodPost, "/system/functions", types.FunctionDeployment{Service: "missing", Image: image, Namespace: lab.Namespace})
	c := newCLI(t, l, l.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := lab.Poll(ctx, func() error {
		described := c.run("", "describe", "missing")
		logged := c.run("", "logs", "missing", "--tail=false")
		for where, text := range map[string]string{"describe": described, "logs": logged} {
			if !strings.Contains(text, image+" is not here and cannot be pulled") {
				return fmt.Errorf("faas-cli %s does not say that the image is missing:\n%s", where, text)
			}
		}
		return nil
	})
	if err = errors.Join(err, l.Remove(t.Context(), "missing")); err != nil {
		t.Error(err)
	}
}

// narrow runs the function within limits and with a file system that cannot be
// written.
func narrow(t *testing.T, d *digitsFunction) {
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
	if err := d.lab.Remove(t.Context(), "narrow"); err != nil {
		t.Error(err)
	}
}
