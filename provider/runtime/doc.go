// Package runtime is the contract between the provider and whatever runs the
// replicas of a function: processes on this machine (process), containers of a
// Docker daemon (docker), or a swarm.
//
// A runtime is told what should be (Create, Update, Scale, Delete) and makes it
// so on its own: it starts and restarts replicas, replaces them one after the
// other on an update, and drains those that leave. What is, it publishes as an
// immutable Snapshot that is read without waiting; no call on the path of an
// invocation or of a status query reaches a daemon or a disk.
//
// All state lives in the runtime (a journal, container labels, service labels):
// a provider that dies and comes back finds every function, replica and secret,
// and no replica dies with it.
//
// The conformance suite is in runtimetest.
package runtime
