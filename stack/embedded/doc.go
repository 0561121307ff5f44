// Package embedded runs a whole installation in one process: the provider, the
// process runtime and the cache manager of this machine. It needs no Docker, no
// GPU and no gateway. Replicas of functions are processes of their own; they
// stop with the stack and are started again by the next one on the same state
// folder.
//
// It is for development and tests: functions are not isolated from each other.
package embedded
