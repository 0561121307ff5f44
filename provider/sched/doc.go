// Package sched decides which replica serves a request, and says why. It is
// pure: no clock, no lock, no I/O, standard library only. What happens comes in
// as events, what to do goes out as actions:
//
//	actions = s.Step(now, event, actions[:0])
//
// Everything is deterministic: the same events give the same actions. The caller
// (package dispatch) is the one writer and carries the actions out.
package sched
