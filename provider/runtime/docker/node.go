package docker

import "github.com/faas-gpu/faas-gpu/provider/runtime"

const (
	minMemory   = 6 << 20 // Docker takes no less
	minNanoCPUs = 10_000_000
	nanoPerMill = 1_000_000
)

// memoryLimit and cpuLimit are a function's limits as Docker takes them here. Where
// the kernel has no quota of processors, as on some boards, Docker makes no container
// that asks for one; a limit of memory it only warns about.
func memoryLimit(limits runtime.Resources) int64 {
	if limits.MemoryBytes == 0 {
		return 0
	}
	return max(limits.MemoryBytes, minMemory)
}

func (n node) cpuLimit(limits runtime.Resources) int64 {
	if limits.MilliCPU == 0 || !n.LimitsCPU {
		return 0
	}
	all := int64(n.CPUs) * 1000
	return max(min(limits.MilliCPU, all)*nanoPerMill, minNanoCPUs)
}
