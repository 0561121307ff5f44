package build

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Phases of a build.
const (
	PhaseStart  = "start"  // the builder is asked what it builds for
	PhaseQueued = "queued" // behind other builds
	PhaseIdle   = "idle"   // until the GPU is idle, and has room
	PhaseParse  = "parse"
	PhaseBuild  = "build"
	PhaseWrite  = "write"
)

// unknown is a Fraction that nobody knows.
const unknown = -1

// Progress is how far a build is.
type Progress struct {
	Phase    string
	Fraction float64 // of the phase, 0 to 1; negative where it is not known
}

func (p Progress) String() string {
	text := map[string]string{
		PhaseStart: "asking the engine builder what it builds for", PhaseQueued: "waiting for other builds",
		PhaseIdle: "waiting for the GPU to be idle", PhaseParse: "reading the ONNX file",
		PhaseBuild: "building", PhaseWrite: "writing the plan",
	}[p.Phase]
	if p.Fraction >= 0 {
		return fmt.Sprintf("%s, %d %%", text, int(p.Fraction*100))
	}
	return text
}

// Target is what plans made here are good for.
type Target struct {
	TensorRT string `json:"tensorrt"` // version
	Device   string `json:"device"`   // kind of GPU
	SM       string `json:"sm"`       // its compute capability
}

// line is one of the program's output.
type line struct {
	Phase    string   `json:"phase"`
	Fraction *float64 `json:"fraction"`

	Done bool `json:"done"`
	Target

	Error string `json:"error"`
	Code  string `json:"code"`
}

// maxLine is the longest line of the program that is understood, in bytes.
const maxLine = 64 << 10

// readLines reads the program's output to its end. Progress is reported; the last
// line that is none is returned, as is what it says that went wrong. Libraries of
// the program may write lines of their own, which are passed over.
func readLines(r io.Reader, report func(Progress)) (last line, err error) {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		var l line
		if json.Unmarshal(scan.Bytes(), &l) != nil {
			continue
		}
		switch l.Phase {
		case "":
			last = l
		case PhaseParse, PhaseBuild, PhaseWrite:
			report(Progress{l.Phase, fraction(l.Fraction)})
		}
	}
	if err := scan.Err(); err != nil {
		return line{}, fmt.Errorf("its output cannot be read: %w", err)
	}
	return last, last.failure()
}

func fraction(f *float64) float64 {
	if f == nil || math.IsNaN(*f) {
		return unknown
	}
	return min(max(*f, 0), 1)
}

// failure is what a line says that went wrong.
func (l line) failure() error {
	if l.Error == "" {
		return nil
	}
	why := errors.New(l.Error)
	switch l.Code {
	case "bad_model":
		return fmt.Errorf("%w: %w", engine.ErrBadModel, why)
	case "no_memory":
		return fmt.Errorf("%w: %w", engine.ErrNoMemory, why)
	case "device_lost":
		return fmt.Errorf("%w: %w", engine.ErrDeviceLost, why)
	case "unavailable":
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, why)
	}
	return why
}
