// Package locality chooses the device that serves a request: it knows where
// models are, what it costs to bring them elsewhere, and what every device still
// has to do. Its policies are
//
//	lb      any device with room, first come first served
//	lalb    the device that has the model, if waiting for it is cheaper than loading
//	lalbo3  lalb, and a device may serve requests it has the model for out of order
//	swap    prices queue, link, load and compute of every device; the default
//
// docs/scheduling.md explains them. Like package sched it is pure, deterministic
// and has one writer. Everything is indexed: an event costs microseconds and
// allocates nothing, however many requests wait.
//
// The parts: a line holds the waiting requests of one function, model and SLO, in
// order of arrival. A lane holds, in the same order, the requests of all lines
// that the same devices may serve. A device keeps a heap of the lines whose model
// it has.
package locality
