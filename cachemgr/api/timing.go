package api

import (
	"strconv"
	"strings"
	"time"
)

// Timing is what a request's latency was made of, as in the header Server-Timing.
type Timing struct {
	Queue   time.Duration // waiting for bytes or for the device
	Swap    time.Duration // waiting for the model to be staged and loaded
	Compute time.Duration // in the engine
}

// Format is the value of the header, in milliseconds to the microsecond.
func (t Timing) Format() string {
	b := make([]byte, 0, 64)
	b = appendTiming(b, "queue;dur=", t.Queue)
	b = appendTiming(b, ", swap;dur=", t.Swap)
	b = appendTiming(b, ", compute;dur=", t.Compute)
	return string(b)
}

func appendTiming(b []byte, name string, d time.Duration) []byte {
	b = append(b, name...)
	return strconv.AppendFloat(b, float64(d)/float64(time.Millisecond), 'f', 3, 64)
}

// ParseTiming reads the value of the header; parts that are not there, or not
// understood, are 0.
func ParseTiming(value string) Timing {
	var t Timing
	for entry := range strings.SplitSeq(value, ",") {
		name, ms, ok := strings.Cut(strings.TrimSpace(entry), ";dur=")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(ms, 64)
		if err != nil || !(v >= 0 && v < 1e9) {
			continue
		}
		d := time.Duration(v * float64(time.Millisecond))
		switch name {
		case "queue":
			t.Queue = d
		case "swap":
			t.Swap = d
		case "compute":
			t.Compute = d
		}
	}
	return t
}
