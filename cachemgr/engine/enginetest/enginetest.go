// Package enginetest is the conformance suite of the engine contract. Every
// engine runs it:
//
//	func TestConformance(t *testing.T) { enginetest.Run(t, open) }
//
// Outputs are compared bit by bit with those that the same engine gave when the
// model was loaded for the first time: an engine that evicts must not compute
// anything else when a model comes back.
package enginetest

import (
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Fixtures are what the suite needs beside the engine: files in its format.
type Fixtures struct {
	// Device to load onto.
	Device engine.DeviceID
	// Models with fixed shapes, at least three, each with weights of its own.
	// They are small: the suite loads them some hundred times.
	Models []engine.Model
	// Dynamic has a dynamic first dimension in all inputs and outputs.
	Dynamic engine.Model
	// Endless never ends. An engine whose format cannot express that (a plan)
	// leaves it out.
	Endless *engine.Model
	// Huge asks for memory while it runs.
	Huge *HugeModel
	// FailingLoad opens, and its Load fails with ErrBadModel.
	FailingLoad *engine.Model
	// Held is how many bytes this process holds on the device now, as the driver
	// or the system counts them, once what the engine does in the background is
	// done.
	Held func() int64
}

// HugeModel is a model that asks for as much memory as its input says.
type HugeModel struct {
	Model engine.Model
	// Input makes it ask for far more than the device has, or little.
	Input func(huge bool) []tensor.Tensor
}

// Run runs the suite. open returns a new engine, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) (engine.Engine, Fixtures)) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"devices", testDevices},
		{"spec and cost", testSpecAndCost},
		{"evicted and loaded again", testReload},
		{"buffers of the caller", testCallersBuffers},
		{"buffers at odd addresses", testOddAddresses},
		{"subset of outputs", testOutputSubset},
		{"dynamic dimensions", testDynamic},
		{"bad input", testBadInput},
		{"bad files", testBadFiles},
		{"failed load", testFailedLoad},
		{"cancelled", testCancelled},
		{"endless", testEndless},
		{"huge", testHuge},
		{"load beside run", testLoadBesideRun},
		{"concurrent runs", testConcurrentRuns},
		{"random schedule", testRandomSchedule},
		{"order of closing", testCloseOrder},
		{"bytes come back", testBytesComeBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, f := open(t)
			if len(f.Models) < 3 {
				t.Fatalf("%d models; the suite needs three", len(f.Models))
			}
			s := &suite{T: t, engine: e, Fixtures: f}
			defer func() { s.close(append(s.atEnd, e)...) }()
			c.test(s)
		})
	}
}
