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
// (unless a model turns out to be larger than its engine said: then others leave
// at once, or it does.)
//
// # States
//
// A file is in host memory or not (entry.go: phase), and on each device or not
// (entry.go: slotState):
//
//	onDisk -> opening -> staged -> unstaging -> onDisk
//	absent -> loading -> resident <-> draining -> closing -> absent
//
// A resident model gives leases, one for each request, from before the request
// waits for its turn to compute until it has its output. A draining model gives
// none; it leaves with its last one, unless those that needed its bytes went away
// and a request for it is the next to get bytes: then it stays. A retiring model drains everywhere and then
// leaves host memory.
//
// # Who waits for what
//
// A call that cannot go on holds a ticket, and the ticket is in one list: the
// model's (to be opened), the slot's (to be loaded) or the slot's turns (to
// compute). Models wait for host bytes, first come first served. For which request
// a device loads a model next, and which computes next, is said by package queue;
// while a model is copied the next one is on its way already (link.go), idle models
// leave for the one after that (makeWay), and requests
// for one model may compute together (batch.go). Bytes are made free in the order
// of package policy: by idle models first, and if these do not suffice, and the
// request cannot wait, by models in use, which drain: then the bytes are its own
// (device.claim). So whoever waits first gets its bytes after a bounded number of
// runs. There is no circle: computing waits for computing only; device bytes wait
// for computing; host bytes wait for both. Models that are expected (package
// arrival) come back before they are asked for, where that is in nobody's way
// (prefetch.go).
//
// # Locks
//
// Manager.mu guards everything in this package but the last snapshot. No call of
// an engine, no file, no network, no log and no channel operation that can block
// happens under it. What has to happen outside is done in two halves: claimed under the
// lock (a state and its bytes), done by a goroutine of background, committed
// under the lock; then pump looks what can go on. A state in the middle (opening,
// loading, closing, unstaging) belongs to that goroutine: others may only leave
// wishes (retiring, tickets), which the commit sees to. board.building is taken
// before Manager.mu and guards the making of snapshots. Engines have locks of
// their own, which are never held when they call, because they never call.
//
// A batch computes in a goroutine of its own, all other requests in their caller's.
//
// The protocol around it is in server, the files in store, and what computes behind
// the contract in engine.
package cachemgr
