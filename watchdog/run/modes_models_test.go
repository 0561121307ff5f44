package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const tensors = `{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}`

// ownCache are the variables of a function that has a model, digits, and a cache
// manager of its own.
func ownCache(t *testing.T) []string {
	t.Helper()
	tools := t.TempDir()
	cachemgrd, folder := filepath.Join(tools, "cachemgrd"), filepath.Join(tools, "models")
	if err := os.WriteFile(cachemgrd, fmt.Appendf(nil, "#!/bin/sh\nexec %s %s\n", os.Args[0], asCache), 0o755); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(folder, "digits/1/model.onnx")
	if err := os.MkdirAll(filepath.Dir(model), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(model, []byte("model"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"cachemgr_mode=child", "cachemgr_binary=" + cachemgrd, "models_path=" + folder}
}

// The answer of a process says what the model that it asked for had.
func TestProcessAsksItsModel(t *testing.T) {
	p := start(t, append(ownCache(t), "mode=serializing", "fprocess="+os.Args[0]+" "+asAsker)...)
	p.await(t, "/_/ready", 200)
	resp, body := p.send(t, "POST", "/", tensors, "X-Call-Id", "id-1")
	if resp.StatusCode != 200 || !strings.Contains(body, `"outputs"`) || resp.Header.Get("X-Faas-Gpu-Cache") == "" || resp.Header.Get("Server-Timing") == "" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
}

// Models belong to a function of any mode, with a cache manager of its own too.
func TestModelsInEveryMode(t *testing.T) {
	environ := ownCache(t)
	all := modes(t)
	all["model"] = mode{environ: []string{"mode=model", "fprocess="}, method: "POST", want: `"outputs"`, header: "application/json"}
	for name, m := range all {
		t.Run(name, func(t *testing.T) {
			p := start(t, append(m.environ, environ...)...)
			p.await(t, "/_/ready", 200)
			if resp, body := p.send(t, "POST", "/v2/models/digits/infer", tensors); resp.StatusCode != 200 || !strings.Contains(body, `"outputs"`) {
				t.Errorf("infer: %d %s", resp.StatusCode, body)
			}
			if name == "model" {
				resp, body := p.send(t, "POST", "/", tensors)
				if resp.StatusCode != 200 || !strings.Contains(body, m.want) || resp.Header.Get("X-Faas-Gpu-Cache") == "" {
					t.Errorf("POST /: %d %s %v", resp.StatusCode, body, resp.Header)
				}
				if resp, body := p.send(t, "POST", "/other", tensors); resp.StatusCode != 404 || !strings.Contains(body, "/v2/models") {
					t.Errorf("POST /other: %d %s", resp.StatusCode, body)
				}
				if resp, _ := p.send(t, "DELETE", "/", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
					t.Errorf("DELETE /: %d", resp.StatusCode)
				}
			}
			p.cmd.Process.Signal(syscall.SIGTERM)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.out)
			}
		})
	}
}
