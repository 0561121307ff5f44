// Package node puts a cache manager together: a store, a manager, a server and
// its listeners, around an engine that the caller brings. cachemgrd is one of
// them as a program; stack/embedded runs one inside another process.
package node
