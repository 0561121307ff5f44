// Package fleet turns what nodes report into what a scheduler has to know: which
// devices there are, where models are, and what they cost there. It also knows
// which file a function means by the name of a model.
//
// Nothing here is a decision. A Fleet has no lock, no clock and does no I/O; like
// a scheduler it has one writer, and returns events for it.
//
// Prices are what was measured, and estimates where nothing was yet (Price says
// which). The time to compute is learned from the totals that nodes report for
// each model on each device, the time of a swap from the last load there, the time
// to read a file from the last staging; see estimate for how. A model that was
// never swapped is priced by its bytes over the rate that other models reached on
// that class of devices. Answers correct the picture before the next message of
// their node comes.
package fleet
