// Package engine is the contract between the cache manager and whatever runs
// models on a device. It imports the standard library and the tensor type only.
//
// A model passes through three values, each owning one kind of resource:
//
//	Engine.Open   file -> host pool     a Staged owns host memory
//	Staged.Load   host pool -> device   an Instance owns device memory
//	Instance.Run  inputs -> outputs     a call owns nothing
//
// Closing an Instance evicts the model from its device and leaves the Staged
// able to Load it again cheaply; closing the Staged gives the host memory back.
// The cache manager decides when; an engine never evicts on its own.
//
// What the contract had to allow, and where it does:
//
//   - On CUDA the first Load deserializes an engine and captures its weights in
//     pinned host memory; every later Load is one copy. So the host bytes of a
//     Staged may grow at its first Load (Cost.Host states the final number, and
//     Cost.Estimated says whether it is known yet), and a plan's inputs and
//     outputs may be unknown until then (Spec.Known).
//   - A swap-in runs beside the computation of another model: Load, Run and
//     Close of different instances may be called at the same time, and an engine
//     must not serialize a Load behind another instance's Run.
//   - An evicted engine leaves something behind on the device (modules, a
//     context, small blocks): Cost.Residual, held until the Staged is closed.
//   - Memory that serves all models of a device (context, activation scratch,
//     slabs for small blocks) belongs to no model: Device.Overhead.
//   - A device can be lost with everything on it: ErrDeviceLost is sticky, and
//     only a new Engine gets out of it.
//
// There are no callbacks and no pointers across the contract, so an engine can
// move into a worker process of its own. The conformance suite is in enginetest.
package engine
