// Package native is the engine on TensorRT. It implements the contract in package
// engine with what is in shim/: C++ behind one table of C functions, loaded with
// dlopen. So this package builds and its tests run where there is neither CUDA
// nor TensorRT; New then says what is missing.
//
//	Go:  engine.go staged.go instance.go  the contract
//	     bind.go slots.go pin.go          a request's tensors, its turn, its memory
//	     native.go trampolines.h          the border: the only cgo
//	C++: shim/gpushim.h                   the border from the other side
//	     shim/                            memory, models, runs
//	     shim/cuda/                       the driver and TensorRT
//	     shim/double/                     both, on the host, for tests
//
// # Engines that stay deserialized
//
// Deserializing a plan takes ten times as long as copying its weights to the
// device. So the first Load deserializes, with the weights at addresses that are
// reserved for good, and copies them to pinned host memory. Closing an Instance
// gives the memory behind the addresses to other models; nothing is copied back,
// since nothing writes to weights. The next Load copies once to other memory, and
// maps that at the same addresses while the copy is under way. TensorRT does not
// notice.
//
// What stays on the device while a model is evicted (Cost.Residual) are small
// blocks, what an execution context keeps, and the kernels' code. Activations and
// the buffers of inputs and outputs are shared by all models (Device.Overhead):
// one set for each run at once.
//
// Where a device cannot map memory, or shares it with the host, a Load
// deserializes each time and an eviction drops all: the same contract, slower.
package native
