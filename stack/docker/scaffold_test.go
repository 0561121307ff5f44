package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScaffoldCompiles builds what `faas-cli new --lang go-trt` writes, and the
// CNN of examples in its place, against this checkout.
func TestScaffoldCompiles(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	m := machine{checkout, filepath.Join(t.TempDir(), "images"), t.TempDir()}
	t.Setenv("GOPROXY", "off") // nothing may have to be downloaded
	if err := os.CopyFS(m.context, os.DirFS(filepath.Join(checkout, "template", "go-trt"))); err != nil {
		t.Fatal(err)
	}
	if code, out := m.build(t, "--tag", "scaffold"); code != 0 {
		t.Fatalf("status %d:\n%s", code, out)
	}
	root, img := m.unpack(t, "scaffold")
	out, err := exec.Command(filepath.Join(root, img.Config.Entrypoint[0]), "-help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "models_path") {
		t.Errorf("the program does not print its settings: %v\n%s", err, out)
	}

	handler, err := os.ReadFile(filepath.Join(checkout, "examples", "cnn", "handler.go"))
	if err != nil {
		t.Fatal(err)
	}
	// Without a go.mod of its own, a handler belongs to the program's module.
	for _, name := range []string{"pixels.go", "pixels_test.go", "go.mod"} {
		if err := os.Remove(filepath.Join(m.context, "function", name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, m.context, map[string]string{"function/handler.go": string(handler)})
	if code, out := m.build(t, "--tag", "cnn"); code != 0 {
		t.Fatalf("status %d:\n%s", code, out)
	}
}

// TestTheTemplatesOwnTests runs the tests that a scaffold brings.
func TestTheTemplatesOwnTests(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	context := filepath.Join(checkout, "template", "go-trt")
	work := filepath.Join(t.TempDir(), "go.work")
	if err := os.WriteFile(work, workspace(context, checkout), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "./function/...")
	cmd.Dir = context
	cmd.Env = append(os.Environ(), "GOWORK="+work, "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
