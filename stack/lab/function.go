package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/openfaas/faas-provider/types"
)

// Namespace of all functions of a lab.
const Namespace = "openfaas-fn"

// Build builds a function as `faas-cli build` does: a template with a function's
// folder (relative to the checkout; "" is the template's example) and models, by
// "NAME/VERSION".
func (l *Lab) Build(ctx context.Context, image, template, function string, models map[string][]byte) error {
	dir, err := os.MkdirTemp(l.Dir, "build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(l.Source, "template", template))); err != nil {
		return err
	}
	if function != "" {
		// The template's files stay where the function has none, as with faas-cli.
		if err := overlay(filepath.Join(dir, "function"), filepath.Join(l.Source, function)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		file := filepath.Join(dir, "function", "models", filepath.FromSlash(name), "model.onnx")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, models[name], 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, l.Docker, "build", "--tag", image, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "FAAS_GPU_IMAGES="+filepath.Join(l.Dir, "images"),
		"FAAS_GPU_SOURCE="+l.Source, "FAAS_GPU_WATCHDOG="+l.Watchdog)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", image, err, out)
	}
	return nil
}

// overlay copies the files of a folder that has no folders over those of another.
func overlay(to, from string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Deploy makes a function and waits until one replica is ready.
func (l *Lab) Deploy(ctx context.Context, d types.FunctionDeployment) error {
	d.Namespace = Namespace
	if err := l.System(ctx, http.MethodPost, "/system/functions", d, nil); err != nil {
		return err
	}
	return l.Ready(ctx, d.Service)
}

// Ready waits until a function has a replica that serves.
func (l *Lab) Ready(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return Poll(ctx, func() error {
		var s types.FunctionStatus
		if err := l.System(ctx, http.MethodGet, "/system/function/"+name+"?namespace="+Namespace, nil, &s); err != nil {
			return err
		}
		if s.AvailableReplicas == 0 {
			return fmt.Errorf("%s has no replica that is ready", name)
		}
		return nil
	})
}

// Remove deletes a function.
func (l *Lab) Remove(ctx context.Context, name string) error {
	return l.System(ctx, http.MethodDelete, "/system/functions",
		types.DeleteFunctionRequest{FunctionName: name, Namespace: Namespace}, nil)
}

// RemoveAll deletes all functions.
func (l *Lab) RemoveAll(ctx context.Context) error {
	fns, err := l.List(ctx)
	if err != nil {
		return err
	}
	for _, f := range fns {
		if err := l.Remove(ctx, f.Name); err != nil {
			return err
		}
	}
	return nil
}

// List is all functions.
func (l *Lab) List(ctx context.Context) ([]types.FunctionStatus, error) {
	var fns []types.FunctionStatus
	err := l.System(ctx, http.MethodGet, "/system/functions?namespace="+url.QueryEscape(Namespace), nil, &fns)
	return fns, err
}

// System calls the provider's API as its administrator: in is sent as JSON and
// the answer read into out, each unless nil. A status of 300 and more is an
// error.
func (l *Lab) System(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, l.URL+path, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(l.User, l.Password)
	res, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(answer))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Answer of a function.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Invoke calls a function; path begins with "/" or is empty. An answer of any
// status is no error.
func (l *Lab) Invoke(ctx context.Context, name, path string, body []byte) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL+"/function/"+name+"."+Namespace+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return &Answer{res.StatusCode, res.Header, answer}, nil
}
