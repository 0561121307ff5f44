package process

import (
	"os"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// usage returns a function that sums what the processes of a session use now.
func usage(session int) func() runtime.Usage {
	var mu sync.Mutex
	lastTicks, lastTime := sessionUse(session).ticks, time.Now()
	return func() runtime.Usage {
		mu.Lock()
		defer mu.Unlock()
		now, use := time.Now(), sessionUse(session)
		u := runtime.Usage{MemoryBytes: use.pages * int64(os.Getpagesize())}
		// A process that ended takes its ticks with it.
		if elapsed := now.Sub(lastTime).Seconds(); elapsed > 0 && use.ticks > lastTicks {
			const ticksPerSecond = 100
			u.MilliCPU = 1000 * float64(use.ticks-lastTicks) / ticksPerSecond / elapsed
		}
		lastTicks, lastTime = use.ticks, now
		return u
	}
}

func sessionUse(session int) stat {
	var sum stat
	for _, pid := range pids() {
		if s, err := readStat(pid); err == nil && s.session == session {
			sum.ticks += s.ticks
			sum.pages += s.pages
		}
	}
	return sum
}
