// Package server is the protocol around a cache manager: the Open Inference
// Protocol over HTTP with Triton's binary data, repository and statistics
// extensions, the node routes of package api, and Prometheus metrics.
//
// A request passes through four steps, each in a file of its own: who calls
// (auth.go), which model of theirs is meant (catalog.go), what the model takes
// (check.go), and the manager. The server owns names: which function calls which
// file by which name and version. The manager knows files only, by digest.
//
// Locks: catalog.mu guards the names and is held for memory operations only;
// hub.mu guards the status that watchers see and is taken before catalog.mu.
// Calls of the manager happen under catalog.changes at most, which no request
// for an inference takes.
package server
