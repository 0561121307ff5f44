// Package sim simulates nodes with devices under the scheduler and the orders of
// eviction of the real system: the same code decides, only the nodes and the
// clock are made up. Everything is deterministic for a seed.
//
// A device computes one request at a time. The models of the requests that it
// holds are fetched meanwhile: from disk into host memory (one at a time on a
// node), then over the link into the device (one at a time on a link). Before,
// models that no held request needs leave in the order of eviction. Bytes count
// from before the fetch on, and never exceed the budget.
//
// What it does not know: variance of compute times, interference between
// computing and copying, fragmentation, the network, and the time that a node's
// report takes to the scheduler (unless Config.Lag says so).
package sim
