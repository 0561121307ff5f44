// Package server is the protocol around a cache manager: the Open Inference
// Protocol over HTTP with Triton's binary data, repository and statistics
// extensions, the node routes of package api, and Prometheus metrics.
//
// A request passes through four steps, each in a file of its own: who calls
// (auth.go), which model of theirs is meant (catalog.go), what the model takes
// (check.go), and the manager. The server owns names: which function calls which
// file by which name and version. The manager knows files only, by digest.
//
// Locks, in the order in which they are taken: catalog.changes (one change of
// names at a time), hub.mu (what watchers see), catalog.mu (the names). The first
// two are held during calls of the manager that return at once, none during I/O;
// a request for an inference takes only the last, to read.
package server
