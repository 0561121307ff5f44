// Package policy decides which model leaves a pool first. It is pure: it knows
// keys and numbers, no models, no clock and no locks, and it imports the standard
// library only. An order is kept up to date with every use, so that asking for
// victims costs what is taken of them, not a sort of everything.
package policy

import (
	"iter"
	"time"
)

// Entry is what an order may weigh besides the times of use.
type Entry struct {
	Size int64         // bytes that a removal gives back
	Cost time.Duration // what it takes to bring the key back
	// Spare: the pool can do without the key more easily than without others,
	// because it has a copy elsewhere, or comes back while it computes already.
	Spare bool
}

// Order ranks the keys in a pool by how well the pool can do without them. It is
// not safe for concurrent use.
type Order interface {
	// Add puts a key into the order as one just used. A key that is there gets
	// the new entry.
	Add(key string, e Entry)
	// Update gives a key a new entry without a use. A key that is not there is
	// ignored.
	Update(key string, e Entry)
	// Touch tells of a use. A key that is not there is ignored.
	Touch(key string)
	// Remove takes a key out. A key that is not there is ignored.
	Remove(key string)
	// Victims yields all keys, the one to leave first first. The order must not
	// be changed meanwhile.
	Victims() iter.Seq[string]
}
