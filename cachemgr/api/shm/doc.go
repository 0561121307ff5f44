// Package shm is how a function hands memory to the cache manager, so that
// tensors need not pass through HTTP.
//
// The memory is a memfd that can neither shrink nor grow any more. Beside the
// socket of the protocol there is another, shm.sock, of type SOCK_SEQPACKET. Each
// packet is one JSON object, each is answered by one:
//
//	{"op":"hello","token":"…"}               {"epoch":"…"}
//	{"op":"register"} and one descriptor     {"region":"…","byte_size":1048576}
//	{"op":"unregister","region":"…"}         {}
//
// hello comes first, once. A refusal is {"error":"…","status":507}, with the status
// that it would have over HTTP; after one that means that the peer does not speak
// this protocol, or may not, the connection is closed.
//
// A region is used by its name in Triton's parameters shared_memory_region,
// shared_memory_offset and shared_memory_byte_size, with the same function's token.
// It exists until it is unregistered or the connection ends; requests under way
// keep it until they are done.
//
// Client is an api.Client that does all that by itself for large tensors.
package shm
