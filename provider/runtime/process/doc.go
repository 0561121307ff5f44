// Package process runs the replicas of functions as processes of this machine:
// no container daemon, and no isolation between functions. It is for
// development and tests, and says so.
//
// # State
//
// The folder of a runtime holds
//
//	functions/UID.json        what should run, one file per function
//	replicas/ID/replica.json  one run of a function's process, also when it ended
//	replicas/ID/log, log.1    what it wrote
//	replicas/ID/tmp, secrets  its own folders
//	secrets/NAMESPACE/NAME    values of secrets
//	roots/                    unpacked images
//
// Every file is replaced whole (write, sync, rename). A replica is written down
// before its process is started and again once the process is known, and the
// process carries the replica's ID in its environment, so that whatever moment
// this program is killed at, the next run finds every process that belongs to it.
//
// # Who does what
//
// The calls that change a function take turns (Runtime.turn), write the
// function's file and wake the function's goroutine. That goroutine alone owns
// the replicas: it compares what is wanted with what is (plan), carries out the
// difference, and publishes the result (board). One goroutine per replica waits
// for its process to end, and one asks its watchdog whether it is ready; both
// report to the function's goroutine.
package process
