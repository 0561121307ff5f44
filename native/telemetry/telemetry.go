// Package telemetry reads what GPUs say of themselves beside CUDA: what they are,
// how busy, how full and how hungry. It asks NVML on machines with a driver that
// has it, and the kernel's files on Jetson boards, which have no NVML that
// answers.
package telemetry

import (
	"errors"
	"math"
)

// GPU is one of a machine's GPUs, as it was found.
type GPU struct {
	UUID   string
	Name   string
	Driver string // its version, "" if it is not told
	// PCI is the bus address, "" where the GPU is part of the processor; with the
	// generation and the lanes that the link can have.
	PCI        string
	Generation int
	Lanes      int
}

// Sample is a GPU at one moment. NaN is what it does not tell.
type Sample struct {
	UUID        string
	Utilization float64 // 0 to 1: the part of the time that something computed
	MemoryTotal float64 // bytes; of the machine where the GPU has none of its own
	MemoryUsed  float64 // bytes
	Power       float64 // watts
	PowerLimit  float64 // watts
	Energy      float64 // joules since the driver was loaded
	Temperature float64 // degrees Celsius
}

// Source is where GPUs are read from. Its methods may be called one at a time.
type Source interface {
	// GPUs lists what there is, as it was found.
	GPUs() []GPU
	// Sample reads all GPUs, those that fail left out; an error if none answers.
	Sample() ([]Sample, error)
	Close()
}

// ErrNone says that a Source has no GPU to tell of.
var ErrNone = errors.New("no GPU found")

// unknown is a Sample that tells nothing.
func unknown(uuid string) Sample {
	n := math.NaN()
	return Sample{UUID: uuid, Utilization: n, MemoryTotal: n, MemoryUsed: n, Power: n, PowerLimit: n, Energy: n, Temperature: n}
}

// Open finds the Source of this machine for the GPUs of these UUIDs, as CUDA has
// them: NVML, or else the files below root ("/") of a Jetson board, whose one GPU
// has no UUID there. ErrNone says why there is neither.
func Open(root string, uuids []string) (Source, error) {
	n, err := OpenNVML("", uuids)
	if err == nil {
		return n, nil
	}
	j, errJetson := OpenJetson(root, uuids)
	if errJetson == nil {
		return j, nil
	}
	return nil, errors.Join(err, errJetson)
}
