package docker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const (
	// DefaultHost is where Docker listens unless told otherwise.
	DefaultHost = "unix:///var/run/docker.sock"
	// DefaultName is the installation's unless told otherwise.
	DefaultName = "faas-gpu"
)

// Config of a runtime.
type Config struct {
	// Host is the daemon, DefaultHost if empty.
	Host string
	// Name tells this installation from others of the daemon, and is the name of
	// the containers' network; DefaultName if empty.
	Name string
	// Dir holds secrets and the files of replicas. Only one runtime at a time uses
	// it.
	Dir string
	// CachemgrSocket is the cache manager's. Containers see its folder, so that they
	// find the socket of the next cache manager too.
	CachemgrSocket string
	// NodeLabels are what constraints call node.labels.
	NodeLabels map[string]string
	// GPUs are the UUIDs of the devices that functions may have for themselves.
	GPUs []string
	// GPUDriver is how they are asked for: "nvidia", or "cdi" (nvidia.com/gpu=UUID);
	// "nvidia" if empty.
	GPUDriver string
	// Tokens makes the tokens of functions; nil: they get none.
	Tokens runtime.TokenSource
	Log    *slog.Logger
}

var installationName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

// dockersNetworks are those that every daemon has. On host, functions would be on the
// machine's network.
var dockersNetworks = []string{"bridge", "default", "host", "none"}

// complete fills in what is missing, and checks what can be checked before there is a
// daemon.
func (c *Config) complete() error {
	if c.Dir == "" || c.CachemgrSocket == "" {
		return errors.New("Config needs Dir and CachemgrSocket")
	}
	c.Host, c.Name = cmp.Or(c.Host, DefaultHost), cmp.Or(c.Name, DefaultName)
	c.GPUDriver = cmp.Or(c.GPUDriver, "nvidia")
	if !installationName.MatchString(c.Name) {
		return fmt.Errorf("the name %q; up to 64 letters, digits, dots, underscores and hyphens are possible", c.Name)
	}
	if slices.Contains(dockersNetworks, c.Name) {
		return fmt.Errorf("the name %s: a network of Docker's own is called so, and is not for functions; choose another", c.Name)
	}
	if c.GPUDriver != "nvidia" && c.GPUDriver != "cdi" {
		return fmt.Errorf("the GPU driver %q is neither nvidia nor cdi", c.GPUDriver)
	}
	for _, path := range []*string{&c.Dir, &c.CachemgrSocket} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// checkShown is whether the folder that containers see, that of the cache manager's
// socket, holds what they must not reach: the functions' secrets, or Docker's socket,
// which a read-only mount does not keep anybody from using. Both folders are there.
func (c *Config) checkShown() error {
	shown := resolved(filepath.Dir(c.CachemgrSocket))
	hidden := []string{c.Dir}
	if socket, ok := strings.CutPrefix(c.Host, "unix://"); ok {
		hidden = append(hidden, socket)
	}
	for _, path := range hidden {
		if below, err := filepath.Rel(shown, resolved(path)); err == nil && filepath.IsLocal(below) {
			return fmt.Errorf("functions see the folder of the cache manager's socket, %s, and it holds %s; give the socket a folder of its own", shown, path)
		}
	}
	return nil
}

// resolved is a path without links; what is not there stays as it is.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
