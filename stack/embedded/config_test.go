package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	c, err := ReadConfig([]string{"state_dir=state", "ONNXRUNTIME_LIB=/lib.so", "device_budget=24Mi", "port=0"})
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(c.StateDir) || c.Library != "/lib.so" || c.Cache.DeviceBudget != 24<<20 || c.Port != 0 || c.Bind != "127.0.0.1" {
		t.Errorf("%+v", c)
	}
	for want, environ := range map[string][]string{
		"onnxruntime_library": nil,
		"port":                {"ONNXRUNTIME_LIB=x", "port=70000"},
		"device_budget":       {"ONNXRUNTIME_LIB=x", "device_budget=lots"},
		"threads":             {"ONNXRUNTIME_LIB=x", "threads=-1"},
	} {
		if _, err := ReadConfig(environ); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not name %s", environ, err, want)
		}
	}
}

func TestEnvFileIsReadByAShell(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := Config{StateDir: dir, Source: "/src $HOME", ToolsPath: "/shims:/bin dir"}
	file := filepath.Join(dir, "env")
	if err := writeWhole(file, envFile(c, "http://127.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `. "$0"; printf '%s\n' "$OPENFAAS_URL" "$FAAS_GPU_IMAGES" "$FAAS_GPU_SOURCE" "${FAAS_GPU_WATCHDOG-unset}" "$PATH"`, file)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	want := "http://127.0.0.1:1\n" + c.images() + "\n/src $HOME\nunset\n/shims:/bin dir:/usr/bin:/bin\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v\nwant %q", out, err, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
