package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/auth"

	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/docker"
	"github.com/faas-gpu/faas-gpu/provider/runtime/process"
	"github.com/faas-gpu/faas-gpu/provider/server"
)

type config struct {
	bind, stateDir string
	port           int
	runtime        string
	images         string
	basicAuth      bool
	secretsPath    string
	nodes          []string
	nodeLabels     map[string]string
	socket         string
	logLevel       string
	stopTimeout    time.Duration
	leaveLimit     time.Duration
	limits         server.Limits
	docker         docker.Config // what variables say of it
}

func readConfig(environ []string) (config, error) {
	set := env.New(environ)
	c := declare(set)
	if c.port > 65535 {
		set.Fail("port", "%d is not a port", c.port)
	}
	if err := set.Err(); err != nil {
		return c, err
	}
	var err error
	c.stateDir, err = filepath.Abs(c.stateDir)
	return c, err
}

func declare(set *env.Set) config {
	c := config{
		bind:        set.String("bind", "127.0.0.1", "address to listen on"),
		port:        set.Int("port", 8080, "port to listen on; 8081 beside a gateway on this machine; 0: any free one"),
		stateDir:    set.String("state_dir", "/var/lib/faas-gpu", "folder of functions, secrets, images, keys and the password"),
		runtime:     set.OneOf("runtime", "process", "what runs functions", "process", "docker"),
		images:      set.String("images", "", "folder of images for runtime=process; state_dir/images if empty"),
		basicAuth:   set.Bool("basic_auth", true, "the API needs a user and a password"),
		secretsPath: set.String("secret_mount_path", "", "folder of "+server.UserFile+" and "+server.PasswordFile+"; if empty they are made in state_dir"),
		socket:      set.String("cachemgr_socket", "/run/faas-gpu/oip.sock", "socket of the cache manager that functions here use"),
		logLevel:    set.OneOf("log_level", "info", "what is logged; debug: also why each device was chosen", "info", "debug"),
		stopTimeout: set.Duration("stop_timeout", 30*time.Second, "time that requests in flight get when the provider stops"),
		leaveLimit:  set.Duration("handover_timeout", time.Hour, "time that requests and upgraded connections of a provider that was replaced may go on"),
		limits:      server.ReadLimits(set),
	}
	c.docker, c.nodeLabels = declareDocker(set), declareLabels(set)
	nodes := set.String("cachemgr_nodes", "", "cache managers to watch, sockets or URLs with commas between them; cachemgr_socket if empty")
	if nodes == "" {
		nodes = c.socket
	}
	for address := range strings.SplitSeq(nodes, ",") {
		c.nodes = append(c.nodes, strings.TrimSpace(address))
	}
	return c
}

// declareDocker declares the variables of runtime=docker.
func declareDocker(set *env.Set) docker.Config {
	c := docker.Config{
		Host:      set.String("docker_host", docker.DefaultHost, "Docker's socket or address, for runtime=docker"),
		Name:      set.String("docker_name", docker.DefaultName, "label of what is ours at the daemon, and name of the containers' network"),
		GPUs:      list(set.String("gpus", "", "UUIDs of the GPUs that functions of com.openfaas.gpu.mode: dedicated may have, with commas between them")),
		GPUDriver: set.OneOf("gpu_driver", "nvidia", "how Docker is asked for such a GPU", "nvidia", "cdi"),
	}
	return c
}

// declareLabels declares the labels of this machine.
func declareLabels(set *env.Set) map[string]string {
	labels := make(map[string]string)
	for _, label := range list(set.String("node_labels", "", "what constraints call node.labels: NAME=VALUE, with commas between them")) {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			set.Fail("node_labels", "%q is not NAME=VALUE", label)
		}
		labels[name] = value
	}
	return labels
}

// list splits values that have commas between them.
func list(values string) []string {
	var all []string
	for v := range strings.SplitSeq(values, ",") {
		if v = strings.TrimSpace(v); v != "" {
			all = append(all, v)
		}
	}
	return all
}

func usage(w io.Writer) error {
	set := env.New(nil)
	declare(set)
	return set.Usage(w)
}

func (c config) address() string { return net.JoinHostPort(c.bind, strconv.Itoa(c.port)) }

func (c config) keys() string { return filepath.Join(c.stateDir, "keys") }

func (c config) credentials() (*auth.BasicAuthCredentials, error) {
	switch {
	case !c.basicAuth:
		return nil, nil
	case c.secretsPath != "":
		return server.Credentials(c.secretsPath)
	}
	return server.GenerateCredentials(c.stateDir)
}

// openRuntime makes the runtime that was asked for.
func (c config) openRuntime(ctx context.Context, tokens runtime.TokenSource, log *slog.Logger) (runtime.Runtime, error) {
	if c.runtime == "docker" {
		d := c.docker
		d.Dir, d.CachemgrSocket = filepath.Join(c.stateDir, "docker"), c.socket
		d.NodeLabels, d.Tokens, d.Log = c.nodeLabels, tokens, log
		return docker.New(ctx, d)
	}
	dir := c.images
	if dir == "" {
		dir = filepath.Join(c.stateDir, "images")
	}
	images, err := image.Open(dir)
	if err != nil {
		return nil, err
	}
	return process.New(process.Config{
		Dir:         filepath.Join(c.stateDir, "process"),
		Images:      images,
		Environment: map[string]string{"cachemgr_socket": c.socket},
		NodeLabels:  c.nodeLabels,
		Tokens:      tokens,
		Log:         log,
	})
}

// logLevel is what the environment says of the log; readConfig refuses what it
// cannot be.
func logLevel(environ []string) slog.Level {
	if declare(env.New(environ)).logLevel == "debug" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
