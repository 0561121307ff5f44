// Package reconcile makes what runs what is wanted. It is the part of a runtime
// that does not depend on what a replica is, a process or a container: when one
// is started, replaced, asked to stop or killed, whether it is ready, how long to
// wait after one has failed, its token, and what is shown of all that.
//
// A runtime describes what is wanted of a function as a Want, which can launch a
// Replica, and is told what becomes of them as the function's Keeper. Each
// function has one goroutine (Function.run), which alone owns its replicas: it
// compares what is wanted with what is (plan), carries out the difference and
// publishes the result (board). One more goroutine for each replica waits for its
// end, and one asks its watchdog whether it is ready; both report to the
// function's.
package reconcile
