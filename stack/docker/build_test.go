package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile/onnxtest"
	"github.com/faas-gpu/faas-gpu/internal/image"
)

// put writes files below a folder.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// machine is where a build happens: a source that stands for the checkout, and
// a folder of images.
type machine struct{ source, images, context string }

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t.TempDir(), filepath.Join(t.TempDir(), "images"), t.TempDir()}
	put(t, m.source, map[string]string{
		"go.mod":               "module github.com/faas-gpu/faas-gpu\n\ngo 1.26\n",
		"watchdog/watchdog.go": "package watchdog\n\nfunc Main(f func() string) int { println(f()); return 7 }\n",
		"fwatchdog":            "#!/bin/sh\n",
	})
	return m
}

func (m machine) environ() []string {
	return append(os.Environ(), "FAAS_GPU_IMAGES="+m.images, "FAAS_GPU_SOURCE="+m.source,
		"FAAS_GPU_WATCHDOG="+filepath.Join(m.source, "fwatchdog"))
}

func (m machine) build(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var out bytes.Buffer
	args = append([]string{"build"}, append(args, m.context)...)
	return run(t.Context(), args, m.environ(), &out, &out), out.String()
}

// goContext is a go-trt context with another handler.
func (m machine) goContext(t *testing.T, handler string) {
	t.Helper()
	template := os.DirFS("../../template/go-trt")
	for _, name := range []string{"main.go", "go.mod", "function/go.mod", recipeFile} {
		f, err := template.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := content.ReadFrom(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		put(t, m.context, map[string]string{name: content.String()})
	}
	put(t, m.context, map[string]string{"function/handler.go": handler, "function/example/e/1/model.onnx": model})
}

// unpack returns the folder of an image's files, and the image.
func (m machine) unpack(t *testing.T, tag string) (string, image.Image) {
	t.Helper()
	store, err := image.Open(m.images)
	if err != nil {
		t.Fatal(err)
	}
	img, err := store.Resolve(tag)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := store.Unpack(img.Digest, root); err != nil {
		t.Fatal(err)
	}
	return root, img
}

// model is an ONNX file.
var model = string(onnxtest.Model(onnxtest.Info(onnxtest.Input, "x", 1, "batch", 4, -1), onnxtest.Info(onnxtest.Output, "y", 7)))

const hello = "package function\n\nfunc Handle() string { return \"hello\" }\n"

func TestGoFunction(t *testing.T) {
	m := newMachine(t)
	m.goContext(t, hello)
	put(t, m.context, map[string]string{
		"function/models/m/2/model.onnx": model,
		"function/static/page.html":      "<p>",
	})
	code, out := m.build(t, "--build-arg", "ADDITIONAL_PACKAGE=", "--label", "a=b", "--tag", "hello")
	if code != 0 {
		t.Fatalf("status %d:\n%s", code, out)
	}
	for _, want := range []string{"the Dockerfile is not read", "Model m, version 2", "takes x FP32 [batch,4,any]; gives y INT64 []"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Note:") || strings.Contains(out, "Warning:") {
		t.Errorf("nothing was wrong:\n%s", out)
	}

	root, img := m.unpack(t, "hello:latest")
	home := filepath.Join(root, workdir)
	for _, name := range []string{"models/m/2/model.onnx", "models/digests.json", "static/page.html"} {
		if _, err := os.Stat(filepath.Join(home, name)); err != nil {
			t.Error(err)
		}
	}
	if img.Config.WorkingDir != workdir || img.Config.Labels["a"] != "b" || len(img.Config.Entrypoint) != 1 {
		t.Fatalf("configuration %+v", img.Config)
	}
	cmd := exec.Command(filepath.Join(root, img.Config.Entrypoint[0]))
	output, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || string(output) != "hello\n" {
		t.Errorf("the program of the image: status %d, %q", cmd.ProcessState.ExitCode(), output)
	}

	again, _ := m.build(t, "--label", "a=b", "--tag", "hello")
	if _, second := m.unpack(t, "hello"); again != 0 || second.Digest != img.Digest {
		t.Errorf("the same files make another image: %s, then %s", img.Digest, second.Digest)
	}
}

func TestOtherLanguage(t *testing.T) {
	m := newMachine(t)
	put(t, m.context, map[string]string{
		recipeFile: "program: fwatchdog\nenv: {mode: http, a: b}\ncopy:\n" +
			"  - {from: function/models, else: function/example, to: models}\n  - {from: function, to: function}\n",
		"function/handler.py":            "pass",
		"function/example/e/model.onnx":  "not looked at, since there is function/models",
		"function/models/m/1/model.onnx": model,
	})
	if code, out := m.build(t, "--tag", "py"); code != 0 {
		t.Fatalf("status %d:\n%s", code, out)
	}
	root, img := m.unpack(t, "py")
	if got := strings.Join(img.Config.Env, " "); got != "a=b mode=http" {
		t.Errorf("environment %q", got)
	}
	if got := img.Config.Entrypoint[0]; got != workdir+"/fwatchdog" {
		t.Errorf("entrypoint %q", got)
	}
	for name, want := range map[string]bool{
		"fwatchdog": true, "function/handler.py": true, "models/m/1/model.onnx": true,
		"models/e": false, "function/models": false, "function/example": false,
	} {
		if _, err := os.Stat(filepath.Join(root, workdir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailuresAreExplainedAndLeaveNoImage(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, m machine)
		want    string
	}{
		"not of a template": {func(t *testing.T, m machine) {}, "has no process.yaml"},
		"does not compile": {func(t *testing.T, m machine) {
			m.goContext(t, "package function\n\nfunc Handle() string { return missing }\n")
		}, "undefined: missing"},
		"model without version": {func(t *testing.T, m machine) {
			m.goContext(t, hello)
			put(t, m.context, map[string]string{"function/models/m/model.onnx": "weights"})
		}, "move it to models/m/1/model.onnx"},
		"not ONNX": {func(t *testing.T, m machine) {
			m.goContext(t, hello)
			put(t, m.context, map[string]string{"function/models/m/1/model.onnx": "weights"})
		}, "models/m/1/model.onnx: it is no ONNX file"},
		"truncated": {func(t *testing.T, m machine) {
			m.goContext(t, hello)
			put(t, m.context, map[string]string{"function/models/m/1/model.onnx": model[:len(model)-1]})
		}, "models/m/1/model.onnx: it is no ONNX file, or a truncated one"},
		"bad model.yaml": {func(t *testing.T, m machine) {
			m.goContext(t, hello)
			put(t, m.context, map[string]string{"function/models/m/1/model.onnx": "w", "function/models/m/model.yaml": "slo: soon"})
		}, "is not a duration"},
		"missing file": {func(t *testing.T, m machine) {
			put(t, m.context, map[string]string{recipeFile: "program: fwatchdog\ncopy: [{from: index.py, to: index.py}]"})
		}, "index.py, which process.yaml names, is missing"},
		"link": {func(t *testing.T, m machine) {
			put(t, m.context, map[string]string{recipeFile: "program: fwatchdog\ncopy: [{from: f, to: f}]", "f/a": ""})
			if err := os.Symlink("/etc/passwd", filepath.Join(m.context, "f", "b")); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.prepare(t, m)
			code, out := m.build(t, "--tag", "x")
			if code == 0 || !strings.Contains(out, c.want) {
				t.Errorf("status %d, want %q in:\n%s", code, c.want, out)
			}
			store, err := image.Open(m.images)
			if err != nil {
				t.Fatal(err)
			}
			if img, err := store.Resolve("x"); err == nil {
				t.Errorf("there is an image %v", img)
			}
		})
	}
}

// What is taken in the place of models that are not found is said: a folder may
// be named wrongly.
func TestMissingModelsAreSaid(t *testing.T) {
	m := newMachine(t)
	m.goContext(t, hello)
	if code, out := m.build(t, "--tag", "x"); code != 0 || !strings.Contains(out, "no folder models, so example is taken") {
		t.Errorf("status %d:\n%s", code, out)
	}
	if err := os.Mkdir(filepath.Join(m.context, "function", "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, out := m.build(t, "--tag", "x"); code != 0 || !strings.Contains(out, "Warning: there are no models") {
		t.Errorf("status %d:\n%s", code, out)
	}
}

func TestOtherCommands(t *testing.T) {
	for args, want := range map[string]int{"version": 0, "--help": 0, "": 1, "push x": 1, "run x": 1, "buildx build .": 1} {
		var out bytes.Buffer
		if got := run(t.Context(), strings.Fields(args), nil, &out, &out); got != want || !strings.Contains(out.String(), "the real Docker") {
			t.Errorf("docker %s: status %d, want %d\n%s", args, got, want, out.String())
		}
	}
}

func TestUnsetEnvironmentIsNamed(t *testing.T) {
	m := newMachine(t)
	m.goContext(t, hello)
	for unset, environ := range map[string][]string{
		"FAAS_GPU_IMAGES": {"FAAS_GPU_SOURCE=" + m.source},
		"FAAS_GPU_SOURCE": {"FAAS_GPU_IMAGES=" + m.images},
	} {
		var out bytes.Buffer
		if run(t.Context(), []string{"build", "--tag", "x", m.context}, environ, &out, &out) == 0 || !strings.Contains(out.String(), unset) {
			t.Errorf("%s is not named in %q", unset, out.String())
		}
	}
}
