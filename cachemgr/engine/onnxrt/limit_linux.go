package onnxrt

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// LimitMemory makes the system refuse this process more than so many bytes of
// private memory, for good. A model that asks for more gets ErrNoMemory. Go itself
// does not survive a refusal, so the limit must leave it room: it belongs well
// above the cache budgets and Options.MemoryLimit together, and below what makes
// the system kill processes.
func LimitMemory(bytes int64) error {
	if bytes <= 0 {
		return fmt.Errorf("a memory limit of %d bytes makes no sense", bytes)
	}
	limit := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limit the memory of this process to %d bytes: %w", bytes, err)
	}
	return nil
}
