package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func touch(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, nil, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCommandOf(t *testing.T) {
	root, host := t.TempDir(), t.TempDir()
	touch(t, filepath.Join(root, "app/handler"), 0o755)
	touch(t, filepath.Join(root, "app/plain"), 0o644)
	touch(t, filepath.Join(root, "usr/bin/fwatchdog"), 0o755)
	touch(t, filepath.Join(root, "opt/tool"), 0o755)
	touch(t, filepath.Join(host, "python3"), 0o755)
	touch(t, filepath.Join(host, "plain"), 0o755)
	if err := os.Symlink("../usr/bin/fwatchdog", filepath.Join(root, "app/link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config v1.Config
		want   string // relative to the root, or "host:…", or "error: …"
	}{
		{"absolute", v1.Config{Entrypoint: []string{"/app/handler"}}, "app/handler"},
		{"relative", v1.Config{Entrypoint: []string{"./handler"}, WorkingDir: "/app"}, "app/handler"},
		{"command only", v1.Config{Cmd: []string{"/app/handler"}}, "app/handler"},
		{"by the default PATH", v1.Config{Cmd: []string{"fwatchdog"}}, "usr/bin/fwatchdog"},
		{"by the image's PATH", v1.Config{Cmd: []string{"tool"}, Env: []string{"PATH=/x:/opt"}}, "opt/tool"},
		{"through a link", v1.Config{Cmd: []string{"/app/link"}}, "usr/bin/fwatchdog"},
		{"on the machine", v1.Config{Cmd: []string{"python3"}}, "host:python3"},
		{"on the machine, elsewhere", v1.Config{Cmd: []string{"/usr/local/bin/python3"}}, "host:python3"},
		{"not executable in the image", v1.Config{Cmd: []string{"/app/plain"}}, "host:plain"},
		{"not above the image", v1.Config{Cmd: []string{"/../../../../bin/nothing-there"}}, "error: neither in the image"},
		{"nowhere", v1.Config{Cmd: []string{"nothing-there"}}, "error: neither in the image nor on this machine"},
		{"no program", v1.Config{}, "error: neither an entrypoint nor a command"},
		{"empty program", v1.Config{Entrypoint: []string{""}}, "error: neither an entrypoint"},
		{"no working directory", v1.Config{Cmd: []string{"fwatchdog"}, WorkingDir: "/nothing"}, "error: working directory /nothing"},
	} {
		cmd, err := commandOf(root, c.config, host)
		if want, ok := strings.CutPrefix(c.want, "error: "); ok {
			if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want ErrInvalid with %q", c.name, err, want)
			}
			continue
		}
		want := filepath.Join(root, c.want)
		if name, ok := strings.CutPrefix(c.want, "host:"); ok {
			want = filepath.Join(host, name)
		}
		if err != nil || cmd.path != want || cmd.dir != filepath.Join(root, c.config.WorkingDir) ||
			!slices.Equal(cmd.args, slices.Concat(c.config.Entrypoint, c.config.Cmd)) {
			t.Errorf("%s: %+v, %v; want %s", c.name, cmd, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	record := &functionRecord{
		Image: image.Image{Config: v1.Config{Env: []string{"PATH=/image", "image=1", "both=image", "port=1", "bad"}}},
		Deployment: runtime.Deployment{
			ID:          runtime.ID{Namespace: "ns", Name: "f"},
			Request:     types.FunctionDeployment{EnvVars: map[string]string{"both": "request", "log_file": "/x", "cachemgr_socket": "/x", "OPENFAAS_NAME": "mine"}},
			Environment: map[string]string{"both": "platform", "platform": "1", "bind": "0.0.0.0"},
		},
	}
	common := map[string]string{"cachemgr_socket": "/run/oip.sock", "both": "common", "PATH": "/host"}
	got := environment(record, common, map[string]string{"port": "8080", "bind": "127.0.0.1"})
	want := []string{
		"OPENFAAS_NAME=mine", "OPENFAAS_NAMESPACE=ns", "PATH=/image", "bind=127.0.0.1", "both=request",
		"cachemgr_socket=/run/oip.sock", "image=1", "platform=1", "port=8080",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPorts(t *testing.T) {
	p := &ports{host: "127.0.0.1", used: map[int]bool{}}
	first, err := p.take()
	if err != nil {
		t.Fatal(err)
	}
	// A range around a port that was free just now: only that one is sure.
	r := &ports{host: "127.0.0.1", first: first, last: first, used: map[int]bool{}}
	if got, err := r.take(); err != nil || got != first {
		t.Fatalf("take: %d, %v; want %d", got, err, first)
	}
	if _, err := r.take(); err == nil || !strings.Contains(err.Error(), "no port from") {
		t.Errorf("from an empty range: %v", err)
	}
	r.give(first)
	r.keep(first)
	if _, err := r.take(); err == nil {
		t.Error("a port that is kept was given")
	}
}
