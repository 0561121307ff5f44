package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// driverUsed is how many bytes of the first GPU the driver has given to anybody.
func driverUsed(ctx context.Context) (int64, error) {
	out, err := exec.CommandContext(ctx, "nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return 0, fmt.Errorf("nvidia-smi: %w", err)
	}
	mib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return mib << 20, err
}

// quantiles of latencies in milliseconds, which it sorts.
func quantiles(ms []float64) map[string]float64 {
	slices.Sort(ms)
	at := func(q float64) float64 { return to4(ms[int(q*float64(len(ms)-1))]) }
	return map[string]float64{"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1)}
}
