// Package region keeps the memory that functions share with the cache manager: it
// takes their memfds at a socket of its own (package shm has the protocol), and
// gives requests the bytes that they name.
//
// A region has one owner, a function, and does not exist for any other. It lives
// from its registration until its connection ends, or it is unregistered, and
// after that for as long as a request uses it. A connection ends at the latest when
// its token expires, or the provider does not name its function any more.
//
// Its whole size counts against quotas: this process may be the first to touch any
// of its pages, which are then charged to it.
package region
