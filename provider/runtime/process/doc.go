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
// Package reconcile decides when a replica starts and ends, and asks it whether it
// is ready; this package carries that out. The calls that change a function take
// turns, write the function's file, and tell reconcile what is wanted now.
package process
