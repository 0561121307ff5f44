// Package sim simulates nodes with devices under the scheduler, the queues and the
// orders of eviction of the real system: the same code decides, only the nodes and
// the clock are made up. Everything is deterministic for a seed.
//
// A device computes one request at a time. Which of those that it holds is next, and
// for which of the others a model is brought next, is said by cachemgr/queue. Models
// are fetched meanwhile: from disk into host memory (one at a time on a node), then
// over the link into the device. Copies to one device go one after the other; those
// to devices that share a link go at once, and each is slower then. Before, models
// that no held request needs leave in the order of eviction. Bytes count from before
// the fetch on, and never exceed the budget.
//
// Beside the scheduler there is Torpor's way to choose devices (see pool), with the
// same queues, for comparison.
//
// What it does not know: variance of compute times, computing that slows copying or
// the reverse, fragmentation, and the time that a node's report takes to the
// scheduler (unless Config.Lag says so). Of the network it knows a constant time.
package sim
