// Package onnxrt is the engine on ONNX Runtime's CPU backend. It is the default
// engine and the fallback of the others: a full implementation of the contract
// in package engine, whose one device is the host's memory.
//
//	Open    reads the file into memory outside Go's heap, and looks at it (package
//	        onnxfile) before the runtime does
//	Load    makes a session from those bytes
//	Run     computes on the caller's buffers, in place
//	Close   ends the session and gives its memory back to the system
//
// # The library
//
// ONNX Runtime allows one environment in a process, and its Go binding keeps that
// in package variables. This package owns it: every Engine holds one reference,
// the first loads the library and the last closes it. All Engines of a process
// name the same library.
//
// # Memory
//
// Sessions allocate from malloc. Their own arena would keep the largest
// activations ever seen for as long as a model is resident, and it is no faster
// on any of the CNN families. What glibc keeps of freed memory goes back to the
// system after a Load (its temporary copies are three times the model) and after
// an eviction: see trimmer.
//
// A model can ask for any amount of memory while it runs. What sessions allocate
// then comes from an allocator that refuses what goes over Options.MemoryLimit:
// the run ends with ErrNoMemory, and neither Go nor another model has noticed.
// That does not cover what the runtime takes elsewhere, for instance while it
// optimizes a graph. LimitMemory is the last line of defence, for a program that
// runs models of strangers: the system refuses it then, instead of killing
// something.
package onnxrt
