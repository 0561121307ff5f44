// Package docker runs the replicas of functions as containers of a Docker daemon,
// Engine 20.10 or later.
//
// # State
//
// The daemon holds all state, as labels:
//
//	a volume per function      what should run, verbatim, as JSON (record); the
//	                           volume is never mounted and holds no file
//	a container per replica    which function and revision it belongs to
//
// A volume, and not a container that is never started, because a function exists
// before its image does and while it has no replicas, and because clean-ups that
// people run often (docker system prune, docker container prune) leave volumes
// alone. Labels cannot be changed: each change of a function makes a volume with a
// higher serial number and then removes the former, so that whatever moment this
// program is killed at, the function is as it was before or after the change.
//
// All objects carry the label of their installation, which is also the name of
// the network that the containers are in: several installations can share a
// daemon.
//
// A folder of this machine holds the values of secrets and, for each replica, the
// files that its container sees at /var/openfaas/secrets. The daemon must see the
// same folder under the same path.
//
// # Who does what
//
// Package reconcile decides when a replica starts and ends, and asks it whether it
// is ready. This package carries that out. A watcher listens to the daemon's
// events, and compares with its list of containers after every loss of the
// connection. No call to the daemon is on the path of an invocation or of a status
// query. All calls go through the interface daemon.
package docker
