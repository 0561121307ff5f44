package process

import (
	"fmt"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
)

// thisMachine describes the machine that this program runs on.
func thisMachine(c Config) (machine.Machine, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return machine.Machine{}, fmt.Errorf("the memory of this machine: %w", err)
	}
	return machine.Machine{
		ID: c.Node, Name: c.Node, OS: goruntime.GOOS, Arch: goruntime.GOARCH, Labels: c.NodeLabels,
		CPUs: goruntime.NumCPU(), MemoryBytes: int64(info.Totalram) * int64(info.Unit),
	}, nil
}

// checkShared refuses what asks for a GPU of its own. ErrInvalid.
func checkShared(d runtime.Deployment) error {
	if d.Environment["cachemgr_mode"] == "child" {
		return fmt.Errorf("%w: com.openfaas.gpu.mode: dedicated: processes share all GPUs; runtime=docker gives one to a function", runtime.ErrInvalid)
	}
	return nil
}
