// Package store keeps on disk what a cache manager needs to answer at once after
// a restart: the model files, by their digest, and which function calls which of
// them what.
//
//	DIR/blobs/HEX            a model file, complete and verified
//	DIR/tmp/                 uploads under way; emptied at Open
//	DIR/functions/HASH.json  the registered models of one function
//	DIR/references.json      the last set of references: its generation and time
//	DIR/lock                 held while a Store is open
//
// Every file appears by a rename after it was synced, so whatever has its name is
// whole. No lock is held during I/O: a blob that is being written or deleted has
// a state that others wait for, and changes to one function wait for one another.
//
// A file is deleted only if no registration names it. That happens when a set of
// references no longer has its functions, or when an upload needs the room, the
// least recently used first.
package store
