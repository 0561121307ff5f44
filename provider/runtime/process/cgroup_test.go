package process

import (
	"math"
	"testing"
)

// TestCPUMax: the kernel refuses a quota of less than 1000 µs, and the replica would
// not start.
func TestCPUMax(t *testing.T) {
	for milli, want := range map[int64]string{
		1: "1000 100000", 10: "1000 100000", 11: "1100 100000", 1500: "150000 100000", math.MaxInt64: "100000000 100000",
	} {
		if got := cpuMax(milli); got != want {
			t.Errorf("%dm: %q, want %q", milli, got, want)
		}
	}
}
