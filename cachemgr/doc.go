// Package cachemgr owns the models of one node: which of them are in host
// memory, which on which device, and who may use them when.
//
// A request passes through Manager.Infer: it finds its model resident (a hit),
// or waits for one shared swap-in or load, takes a slot on the device, runs, and
// lets go. Bytes are counted from before an engine asks for them until after it
// has given them back:
//
//	resident + loading + draining + residual <= budget    on every device, always
//
// The manager's lock guards its maps and counters only; no engine, file or
// network call happens under it. A caller claims under the lock, acts outside,
// and commits under the lock.
//
// The protocol around it is in server, the files in store, the order of eviction
// in policy, and what computes behind the contract in engine.
package cachemgr
