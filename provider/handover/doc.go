// Package handover replaces a program that serves by a newer one of the same name,
// while its listening socket stays open.
//
// The program runs as two processes. The parent owns the socket and does nothing
// else; it keeps its process ID, so that it can be the first process of a container
// or what a service manager watches. Its child serves. When the parent is asked to,
// it starts another child from the file that the program has now, and leads both
// through the steps below, each a line of text on a Unix socket:
//
//	parent           former child                next child
//	                                             reads its configuration
//	                                             says "prepared"
//	says "release"   closes the program's state,
//	                 which one process has,
//	                 and answers without it
//	                 says "released"
//	says "serve"                                 opens the state and accepts connections
//	                                             says "serving"
//	says "leave"     accepts no more, ends its
//	                 requests and itself
//
// A next child that ends or does nothing for a time is killed at any step, and the
// former is told to serve again. When the parent dies the kernel kills its children.
package handover
