package node

import (
	"syscall"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// defaultBudget is what models may take of a device: all but a tenth, and less
// where the same memory holds the staged models too.
func defaultBudget(d engine.Device) int64 {
	if d.Unified {
		return d.TotalBytes / 10 * 4
	}
	return d.TotalBytes / 10 * 9
}

// defaultHostBudget is what staged models may take of the host's memory.
func defaultHostBudget(devices []engine.Device) int64 {
	return hostBytes(devices) / 10 * 4
}

// hostBytes is the host's memory. A device that shares it may know of a tighter
// limit than the kernel tells.
func hostBytes(devices []engine.Device) int64 {
	var info syscall.Sysinfo_t
	total := int64(1 << 62)
	if err := syscall.Sysinfo(&info); err == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	for _, d := range devices {
		if d.Unified {
			total = min(total, d.TotalBytes)
		}
	}
	return total
}
