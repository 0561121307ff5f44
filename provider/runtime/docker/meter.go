package docker

import (
	"sync"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// meter holds what a replica used when that was last measured.
type meter struct {
	mu    sync.Mutex
	last  usage
	shown runtime.Usage
}

func (m *meter) read() runtime.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown
}

// add takes a sample. The use of processors is that since the sample before.
func (m *meter) add(u usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown.MemoryBytes = u.MemoryBytes
	if elapsed := u.At.Sub(m.last.At); !m.last.At.IsZero() && elapsed > 0 && u.CPU >= m.last.CPU {
		m.shown.MilliCPU = 1000 * float64(u.CPU-m.last.CPU) / float64(elapsed)
	}
	m.last = u
}
