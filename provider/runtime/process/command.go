package process

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// reserved are the variables that only the runtime sets: two replicas that
// shared one of these values would disturb each other.
var reserved = []string{
	"port", "bind", "metrics_port", "TMPDIR", "secret_mount_path", "log_file", "cachemgr_socket", marker,
}

// command is how to start an image's program.
type command struct {
	path string // of the program on this machine
	args []string
	dir  string
}

// commandOf finds the program of an image that is unpacked at root: in the image
// if it is there, else on this machine. Arguments are passed as they are, so a
// file of the image that they name is named relative to the working directory.
func commandOf(root string, config v1.Config, hostPath string) (command, error) {
	args := slices.Concat(config.Entrypoint, config.Cmd)
	if len(args) == 0 || args[0] == "" {
		return command{}, fmt.Errorf("%w: the image has neither an entrypoint nor a command", runtime.ErrInvalid)
	}
	dir, err := image.Lookup(root, config.WorkingDir)
	if err != nil {
		return command{}, fmt.Errorf("%w: the image's working directory %s: %w", runtime.ErrInvalid, config.WorkingDir, err)
	}
	for _, name := range candidates(args[0], config) {
		if file, err := image.Lookup(root, name); err == nil && executable(file) {
			return command{file, args, dir}, nil
		}
	}
	names := []string{args[0]}
	if !path.IsAbs(args[0]) {
		names = nil
	}
	for _, folder := range filepath.SplitList(hostPath) {
		names = append(names, filepath.Join(folder, path.Base(args[0])))
	}
	for _, name := range names {
		if executable(name) {
			return command{name, args, dir}, nil
		}
	}
	return command{}, fmt.Errorf("%w: the program %s is neither in the image nor on this machine", runtime.ErrInvalid, args[0])
}

// candidates are the paths in an image that a program's name may mean.
func candidates(name string, config v1.Config) []string {
	if path.IsAbs(name) {
		return []string{name}
	}
	if strings.Contains(name, "/") {
		return []string{path.Join("/", config.WorkingDir, name)}
	}
	search := defaultPath
	for _, variable := range config.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			search = value
		}
	}
	var names []string
	for folder := range strings.SplitSeq(search, ":") {
		names = append(names, path.Join("/", folder, name))
	}
	return names
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// environment of a replica: what comes later wins. common is that of all
// replicas, own what the runtime sets for this one.
func environment(record *functionRecord, common, own map[string]string) []string {
	d := &record.Deployment
	env := map[string]string{"PATH": defaultPath}
	add := func(variables map[string]string, allowed func(string) bool) {
		for name, value := range variables {
			if allowed(name) {
				env[name] = value
			}
		}
	}
	free := func(name string) bool { return !slices.Contains(reserved, name) }
	all := func(string) bool { return true }

	add(common, all)
	for _, variable := range record.Image.Config.Env {
		if name, value, ok := strings.Cut(variable, "="); ok && free(name) {
			env[name] = value
		}
	}
	add(map[string]string{"OPENFAAS_NAME": d.ID.Name, "OPENFAAS_NAMESPACE": d.ID.Namespace}, all)
	if d.Request.EnvProcess != "" {
		env["fprocess"] = d.Request.EnvProcess
	}
	add(d.Environment, free)
	add(d.Request.EnvVars, free)
	add(own, all)

	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
