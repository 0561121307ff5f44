package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// cgroups enforces limits by control groups (version 2), one for each replica
// below a folder of this runtime's.
type cgroups struct {
	dir         string
	controllers []string // usable there
	unenforced  []string // for Info
}

// cpuPeriod is the time in which a limited replica gets its share, in µs.
const cpuPeriod = 100_000

// openCgroups makes a folder in the hierarchy mounted at mount. Whatever is
// missing for that ends up in unenforced.
func openCgroups(mount, name string) *cgroups {
	c := &cgroups{dir: filepath.Join(mount, name)}
	available, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		c.refuse("memory", "cpu", errors.New("this machine has no cgroup version 2 at "+mount))
		return c
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		c.refuse("memory", "cpu", fmt.Errorf("no permission to create cgroups: %w", err))
		return c
	}
	for _, controller := range []string{"memory", "cpu"} {
		err := errors.New("the cgroup controller is not available")
		if slices.Contains(strings.Fields(string(available)), controller) {
			err = errors.Join(delegate(mount, controller), delegate(c.dir, controller))
		}
		if err != nil {
			c.unenforced = append(c.unenforced, controller+": "+err.Error())
			continue
		}
		c.controllers = append(c.controllers, controller)
	}
	return c
}

func (c *cgroups) refuse(memory, cpu string, err error) {
	c.unenforced = []string{memory + ": " + err.Error(), cpu + ": " + err.Error()}
}

// delegate lets the groups below dir use a controller.
func delegate(dir, controller string) error {
	return writeControl(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller)
}

// cpuMax is a limit as the kernel takes it: no quota below a millisecond, nor one that
// no machine has the processors for.
func cpuMax(milliCPU int64) string {
	const least, most = 10, 1_000_000
	return fmt.Sprintf("%d %d", min(max(milliCPU, least), most)*cpuPeriod/1000, cpuPeriod)
}

// open makes the group of a replica with its limits and returns its folder, to
// start the process in; nil if no group is needed.
func (c *cgroups) open(replica string, limits runtime.Resources) (*os.File, error) {
	controls := map[string]string{}
	if limits.MemoryBytes > 0 && slices.Contains(c.controllers, "memory") {
		controls["memory.max"] = strconv.FormatInt(limits.MemoryBytes, 10)
	}
	if limits.MilliCPU > 0 && slices.Contains(c.controllers, "cpu") {
		controls["cpu.max"] = cpuMax(limits.MilliCPU)
	}
	if len(controls) == 0 {
		return nil, nil
	}
	dir := filepath.Join(c.dir, replica)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	for name, value := range controls {
		if err := writeControl(filepath.Join(dir, name), value); err != nil {
			os.Remove(dir)
			return nil, fmt.Errorf("limits: %w", err)
		}
	}
	return os.Open(dir)
}

// remove removes the group of a replica whose processes were ended. The kernel
// takes a moment until it has none in it.
func (c *cgroups) remove(replica string) error {
	var err error
	for range 50 {
		err = unix.Rmdir(filepath.Join(c.dir, replica))
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

func writeControl(name, value string) error {
	return os.WriteFile(name, []byte(value), 0o644)
}
