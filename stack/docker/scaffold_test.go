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
	if _, err := os.Stat(filepath.Join(root, workdir, "models", "digits", "1", "model.onnx")); err != nil {
		t.Error(err)
	}
	out, err := exec.Command(filepath.Join(root, img.Config.Entrypoint[0]), "-help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "models_path") {
		t.Errorf("the program does not print its settings: %v\n%s", err, out)
	}

	handler, err := os.ReadFile(filepath.Join(checkout, "examples", "cnn", "handler.go"))
	if err != nil {
		t.Fatal(err)
	}
	// Without a go.mod of its own, a handler belongs to the program's module.
	if err := os.Remove(filepath.Join(m.context, "function", "go.mod")); err != nil {
		t.Fatal(err)
	}
	put(t, m.context, map[string]string{"function/handler.go": string(handler)})
	if code, out := m.build(t, "--tag", "cnn"); code != 0 {
		t.Fatalf("status %d:\n%s", code, out)
	}
}
